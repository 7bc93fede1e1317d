package names

import "strings"

// maxNearest is how long a name may be, in bytes, for one like it to be looked for.
const maxNearest = 64

// Nearest is the known name that most likely was meant, "" if none is like it. The
// known ones are in lower case.
func Nearest(name string, known []string) (near string) {
	if len(name) > maxNearest {
		return ""
	}
	least := len(name)/3 + 2
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d < least {
			near, least = k, d
		}
	}
	return near
}

// distance is how many characters must be put in, taken out or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal, row[j+1] = row[j+1], min(changed, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

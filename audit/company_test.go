package audit

import "testing"

// TestCompany: how many a batch waits for, after batches for so many.
func TestCompany(t *testing.T) {
	repeat := func(n, times int) (list []int) {
		for range times {
			list = append(list, n)
		}
		return list
	}
	for name, test := range map[string]struct {
		came      []int
		low, high int
	}{
		"before the first":           {nil, 0, 0},
		"a caller alone":             {repeat(1, 100), 0, 1},
		"two by chance":              {append(repeat(1, 10), 2, 1, 1), 0, 1},
		"always four, and one tried": {repeat(4, 15), 4, 4},
		"four that went away":        {append(repeat(4, 50), repeat(1, 3)...), 0, 1},
		"as many as are asked for":   {[]int{2, 3, 4, 6, 8, 11, 14, 18, 20}, companyReceipts, companyReceipts},
		"more than are asked for":    {[]int{40, 60, 60}, companyReceipts, companyReceipts},
	} {
		t.Run(name, func(t *testing.T) {
			var c company
			for _, came := range test.came {
				c.learn(came)
			}
			if c.size < test.low || c.size > test.high {
				t.Errorf("it waits for %d, want %d to %d", c.size, test.low, test.high)
			}
		})
	}
}

package tokenizer_test

import (
	"fmt"

	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

func Example() {
	const text = "Reserve the worst case, settle what it really cost."
	encoding, ok := tokenizer.ForModel("gpt-4o-mini-2024-07-18")
	if !ok {
		fmt.Println("at most", tokenizer.UpperBound(text))
		return
	}
	tokens, err := encoding.Count(text)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(encoding, tokens)
	// Output: o200k_base 11
}

func ExampleUpperBound() {
	fmt.Println(tokenizer.UpperBound("plain ASCII"))
	fmt.Println(tokenizer.UpperBound("\ufdfa")) // NFKC makes it a phrase of 18 letters
	// Output:
	// 12
	// 34
}

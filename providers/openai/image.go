package openai

import (
	"strings"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// images counts the images of a request by their detail.
type images struct{ low, high, auto, original int64 }

func (n *images) add(detail string) {
	switch detail {
	case "low":
		n.low++
	case "high":
		n.high++
	case "original":
		n.original++
	case "", "auto":
		n.auto++
	default:
		n.original++ // whatever a server takes it for
	}
}

// imageRule is the most tokens that one image of any size costs at each detail.
// Auto is the larger of what it may choose, and original the most of all.
type imageRule struct {
	model                     string
	low, high, auto, original int64
}

// imageRules come from OpenAI's guide "Images and vision"
// (https://platform.openai.com/docs/guides/images-vision), sections on model
// sizing behaviour and calculating costs, read for the largest image.
//
// Tile models: base + tiles × tile tokens. An image is fitted into 2048 × 2048
// and its short side to 768 pixels, so at most 4 × 2 tiles of 512 pixels.
// Low detail is the base alone.
//
// Patch models: patches of 32 × 32 pixels, up to a budget, times a factor,
// rounded up; low detail is taken as high. The guide has given gpt-5-mini and
// its successors factors from 1.2 to 2.46 over time; the largest published for
// a model is taken.
var imageRules = [...]imageRule{
	tileRule("gpt-4o", 85, 170),
	tileRule("chatgpt-4o", 85, 170),
	tileRule("gpt-4-turbo", 85, 170),
	tileRule("gpt-4-vision", 85, 170),
	tileRule("gpt-4.5", 85, 170),
	tileRule("gpt-4o-mini", 2833, 5667),
	tileRule("o1", 75, 150),
	tileRule("o3", 75, 150),
	patchRule("gpt-4.1", 1536, 1536, 1536, 100), // also listed as 85 + 170 a tile, which is less
	patchRule("gpt-4.1-mini", 1536, 1536, 1536, 162),
	patchRule("gpt-4.1-nano", 1536, 1536, 1536, 246),
	patchRule("o4-mini", 1536, 1536, 1536, 172),
	patchRule("gpt-5", 1536, 1536, 1536, 120), // also listed as 70 + 140 a tile, which is less
	patchRule("gpt-5-mini", 1536, 1536, 1536, 162),
	patchRule("gpt-5-nano", 1536, 1536, 1536, 246),
	patchRule("gpt-5.1", 1536, 1536, 1536, 162),
	patchRule("gpt-5.2", 1536, 1536, 1536, 162),
	patchRule("gpt-5.3", 1536, 1536, 1536, 162),
	patchRule("gpt-5.4", 2500, 2500, 10000, 120),
	patchRule("gpt-5.4-mini", 1536, 1536, 10000, 246),
	patchRule("gpt-5.4-nano", 1536, 1536, 10000, 246),
	patchRule("gpt-5.5", 2500, 10000, 10000, 120),
	patchRule("gpt-5.6", 2500, 30000, 30000, 120), // larger images are refused, not resized
	patchRule("gpt-6", 2500, 30000, 30000, 120),
	patchRule("gpt-6.1", 2500, 30000, 30000, 120),
}

const maxTiles = 4 * 2

func tileRule(model string, base, tile int64) imageRule {
	most := base + maxTiles*tile
	return imageRule{model, base, most, most, most}
}

// patchRule takes the patch budgets at high, auto and original detail, and the
// factor in hundredths.
func patchRule(model string, high, auto, original, factor int64) imageRule {
	tokens := func(patches int64) int64 { return (patches*factor + 99) / 100 }
	return imageRule{model, tokens(high), tokens(high), tokens(auto), tokens(original)}
}

// tokens bounds the tokens of all images for a model; each is the policy's bound
// for one image where the model's rule is not known.
func (n images) tokens(model string, each int64) (int64, error) {
	count := n.low + n.high + n.auto + n.original
	if count == 0 {
		return 0, nil
	}
	if rule, ok := imageRuleOf(bareModel(model)); ok {
		return n.low*rule.low + n.high*rule.high + n.auto*rule.auto + n.original*rule.original, nil
	}
	if each <= 0 || each > providers.MaxCap/count {
		return 0, ErrImageUnbounded
	}
	return count * each, nil
}

// imageRuleOf finds the rule with the longest name that begins the model's, up
// to a dash: gpt-5.4-2026-03-05 is a gpt-5.4, but gpt-5.7 is not a gpt-5.
func imageRuleOf(model string) (rule imageRule, ok bool) {
	for _, r := range imageRules {
		rest, found := strings.CutPrefix(model, r.model)
		if found && (rest == "" || rest[0] == '-' || rest[0] == ':') && len(r.model) > len(rule.model) {
			rule, ok = r, true
		}
	}
	return rule, ok
}

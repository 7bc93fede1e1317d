package source

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// liteEntry is one model of litellm's file, its members as they are.
type liteEntry map[string]json.RawMessage

// parseLiteLLM converts a file whose members are models.
func parseLiteLLM(data []byte, r *Report) ([]*table.Provider, error) {
	var entries map[string]liteEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, fmt.Errorf("litellm: a %s stands where a model's prices should, at byte %d: this is no price table", wrong.Value, wrong.Offset)
		}
		return nil, fmt.Errorf("litellm: %w", err)
	}
	models := map[string]map[string]*table.Model{} // by provider and folded name
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		e := entries[key]
		provider := liteProvider(e.text("litellm_provider"))
		if key == "sample_spec" || provider == "" {
			continue
		}
		name, variant := liteName(key, e.text("litellm_provider"))
		if name == "" {
			return nil, fmt.Errorf("litellm: %q names no model", key)
		}
		m, err := e.model(provider+"/"+name, name, variant, r)
		if err != nil {
			return nil, fmt.Errorf("litellm: %s: %w", key, err)
		}
		if len(m.Prices) == 0 {
			r.Dropped = append(r.Dropped, "litellm: "+key+": no price")
			continue
		}
		if models[provider] == nil {
			models[provider] = map[string]*table.Model{}
		}
		id := strings.ToLower(name)
		if twin := models[provider][id]; twin != nil {
			dearest(twin, m, "litellm: "+key, r)
			continue
		}
		models[provider][id] = m
	}
	var list []*table.Provider
	for provider, byName := range models {
		p := &table.Provider{Provider: provider}
		for _, m := range byName {
			p.Models = append(p.Models, *m)
		}
		slices.SortFunc(p.Models, table.Compare)
		list = append(list, p)
	}
	sortProviders(list)
	return list, nil
}

func sortProviders(list []*table.Provider) {
	slices.SortFunc(list, func(a, b *table.Provider) int { return cmp.Compare(a.Provider, b.Provider) })
}

// liteProviders are the table's names for providers that litellm calls otherwise.
var liteProviders = map[string]string{
	"text-completion-openai": "openai", "azure_text": "azure", "bedrock": "aws", "bedrock_converse": "aws", "gemini": "google",
	"xai": "x-ai", "together_ai": "together", "fireworks_ai": "fireworks", "fireworks_ai-embedding-models": "fireworks",
	"cohere_chat": "cohere", "moonshot": "moonshotai", "voyage": "voyageai", "text-completion-codestral": "codestral",
	"text-completion-inception": "inception",
}

// liteProvider is the table's name of a provider, "" for what is none.
func liteProvider(name string) string {
	switch {
	case liteProviders[name] != "":
		return liteProviders[name]
	case name == "vertex_ai", strings.HasPrefix(name, "vertex_ai-"):
		return "google"
	}
	return name
}

// variantOf matches the names of image models by quality and size.
var variantOf = regexp.MustCompile(`^((?:[a-z]+/)?\d+-x-\d+(?:/[a-z0-9-]+-steps)?|max-x-max(?:/[a-z0-9-]+-steps)?|hd/\d+-x-\d+)/(.+)$`)

// liteName is a model's name at its provider, and the variant that the key is the price of.
func liteName(key, provider string) (name, variant string) {
	for _, prefix := range []string{provider + "/", "vertex_ai/", "gemini/", "bedrock/", "azure/", "openai/"} {
		key = strings.TrimPrefix(key, prefix)
	}
	if found := variantOf.FindStringSubmatch(key); found != nil {
		return found[2], found[1]
	}
	return key, ""
}

func (e liteEntry) text(name string) string {
	var text string
	_ = json.Unmarshal(e[name], &text)
	return text
}

func (e liteEntry) count(name string) int64 {
	var n json.Number
	if json.Unmarshal(e[name], &n) != nil {
		return 0
	}
	whole, _, _ := strings.Cut(n.String(), ".")
	count, _ := strconv.ParseInt(whole, 10, 64)
	return max(0, count)
}

// listKey is what tells price lists of one model apart.
type listKey struct{ service, variant string }

// model converts an entry.
func (e liteEntry) model(what, name, variant string, r *Report) (*table.Model, error) {
	m := &table.Model{
		ID: name, Names: []string{name},
		ContextTokens: e.count("max_input_tokens"), MaxOutputTokens: e.count("max_output_tokens"),
	}
	lists := map[listKey]map[int64]*table.Rates{}
	for _, member := range slices.Sorted(maps.Keys(e)) {
		if err := e.read(member, variant, what, lists, r); err != nil {
			return nil, fmt.Errorf("%s: %w", member, err)
		}
	}
	if err := e.readTiers(variant, what, lists, r); err != nil {
		return nil, err
	}
	for _, key := range slices.SortedFunc(maps.Keys(lists), func(a, b listKey) int {
		return cmp.Or(cmp.Compare(a.variant, b.variant), cmp.Compare(a.service, b.service))
	}) {
		if s, ok := scheduleOf(key, lists[key]); ok {
			m.Prices = append(m.Prices, s)
		}
	}
	e.readRegions(m)
	return m, nil
}

// scheduleOf orders tiers, each with the prices of the one before where it has none. ok is false without a price.
func scheduleOf(key listKey, tiers map[int64]*table.Rates) (s table.Schedule, ok bool) {
	s = table.Schedule{Service: key.service, Variant: key.variant}
	if tiers[0] == nil {
		return s, false
	}
	before := table.NoRates()
	for _, over := range slices.Sorted(maps.Keys(tiers)) {
		rates := *tiers[over]
		for u, price := range rates.Price {
			if price == table.None {
				rates.Price[u] = before.Price[u]
			}
		}
		rates.Over = over
		s.Tiers = append(s.Tiers, rates)
		before = rates
	}
	return s, slices.ContainsFunc(before.Price[:], func(price int64) bool { return price != table.None })
}

// price is the member of that name as pico-USD per unit. ok is false where it is an object or nothing, and where it is 0:
// what costs nothing says so by another sign, which this form does not have.
func (e liteEntry) price(data json.RawMessage, u call.Unit, what string, r *Report) (pico int64, ok bool, err error) {
	var n json.Number
	switch {
	case data[0] == '{' || data[0] == '[' || string(data) == "null":
		return 0, false, nil
	case json.Unmarshal(data, &n) != nil:
		return 0, false, fmt.Errorf("%.40s is not a price", data)
	}
	per := int64(1)
	if call.Table[u].Per == 1000 && (u >= call.AudioTimeIn && u <= call.ComputeTime) {
		per = 1000 // milliseconds
	}
	pico, err = picoUSD(n, per, what, r)
	return pico, err == nil && pico > 0, err
}

func (e liteEntry) put(lists map[listKey]map[int64]*table.Rates, key listKey, over int64, u call.Unit, pico int64) {
	if lists[key] == nil {
		lists[key] = map[int64]*table.Rates{}
	}
	if lists[key][over] == nil {
		rates := table.NoRates()
		lists[key][over] = &rates
	}
	rates := lists[key][over]
	rates.Price[u] = max(rates.Price[u], pico)
}

var (
	aboveTokens = regexp.MustCompile(`_above_(\d+)k_tokens`)
	ofService   = regexp.MustCompile(`_(batches|priority|flex|ultrafast|balanced|decisions)$`)
	ofSize      = regexp.MustCompile(`^(output_cost_per_(?:second|image))_([0-9.]+[kKp]?)$`)
)

// read takes a member that is a price.
func (e liteEntry) read(member, variant, what string, lists map[listKey]map[int64]*table.Rates, r *Report) error {
	name, key, over := member, listKey{variant: variant}, int64(0)
	if found := ofService.FindStringSubmatch(name); found != nil {
		key.service = strings.TrimSuffix(strings.Replace(found[1], "batches", "batch", 1), "")
		name = strings.TrimSuffix(name, found[0])
	}
	if found := aboveTokens.FindStringSubmatch(name); found != nil {
		thousands, err := strconv.ParseInt(found[1], 10, 32)
		if err != nil {
			return err
		}
		over, name = thousands*1000, strings.Replace(name, found[0], "", 1)
	}
	if found := ofSize.FindStringSubmatch(name); found != nil {
		name, key.variant = found[1], strings.TrimPrefix(variant+"/"+found[2], "/")
	}
	if name == "search_context_cost_per_query" {
		return e.readSearches(member, what, lists, r)
	}
	unit, known := e.unit(name)
	if !known {
		if isPrice(name) {
			r.Dropped = append(r.Dropped, "litellm: "+what+": "+member+" is of no unit that we know")
		}
		return nil
	}
	pico, ok, err := e.price(e[member], unit, what+" "+member, r)
	if err == nil && ok {
		e.put(lists, key, over, unit, pico)
	}
	return err
}

// notPrices are members whose names look like prices.
var notPrices = []string{"tiered_pricing", "off_peak_pricing"}

func isPrice(name string) bool {
	return (strings.Contains(name, "cost") || strings.Contains(name, "pricing")) && !slices.Contains(notPrices, name)
}

// liteUnits are the units of members.
var liteUnits = map[string]call.Unit{
	"input_cost_per_token":                       call.Input,
	"cache_read_input_token_cost":                call.CachedInput,
	"input_cost_per_token_cache_hit":             call.CachedInput,
	"cache_creation_input_token_cost":            call.CacheWrite,
	"cache_creation_input_token_cost_above_1hr":  call.CacheWrite1h,
	"cache_creation_input_token_cost_above_12hr": call.CacheWrite12h,
	"cache_creation_input_audio_token_cost":      call.AudioCacheWrite,
	"cache_read_input_audio_token_cost":          call.CachedAudioInput,
	"cache_read_input_image_token_cost":          call.CachedImageInput,
	"input_cost_per_audio_token":                 call.AudioInput,
	"input_cost_per_image_token":                 call.ImageInput,
	"input_cost_per_video_token":                 call.VideoInput,
	"output_cost_per_token":                      call.Output,
	"output_cost_per_reasoning_token":            call.Reasoning,
	"output_cost_per_audio_token":                call.AudioOutput,
	"output_cost_per_image_token":                call.ImageOutput,
	"output_cost_per_video_token":                call.VideoOutput,
	"citation_cost_per_token":                    call.Citation,
	"input_cost_per_character":                   call.CharactersIn,
	"output_cost_per_character":                  call.CharactersOut,
	"input_cost_per_image":                       call.ImagesIn,
	"output_cost_per_image":                      call.ImagesOut,
	"input_cost_per_pixel":                       call.PixelsIn,
	"output_cost_per_pixel":                      call.PixelsOut,
	"input_cost_per_audio_per_second":            call.AudioTimeIn,
	"input_cost_per_video_per_second":            call.VideoTimeIn,
	"output_cost_per_video_per_second":           call.VideoTimeOut,
	"cost_per_second":                            call.ComputeTime,
	"ocr_cost_per_page":                          call.Pages,
	"annotation_cost_per_page":                   call.AnnotatedPages,
	"ocr_cost_per_credit":                        call.Credits,
	"input_cost_per_query":                       call.Queries,
	"input_cost_per_request":                     call.Requests,
	"input_cost_per_text_message":                call.Messages,
	"google_maps_grounding_cost_per_query":       call.MapSearches,
	"code_interpreter_cost_per_session":          call.CodeSessions,
}

// unit is that of a member. What a second is of, the kind of model says.
func (e liteEntry) unit(member string) (u call.Unit, ok bool) {
	mode := e.text("mode")
	switch {
	case member == "input_cost_per_second" && strings.HasPrefix(mode, "audio"):
		return call.AudioTimeIn, true
	case member == "output_cost_per_second" && mode == "video_generation":
		return call.VideoTimeOut, true
	case member == "output_cost_per_second" && mode == "audio_speech":
		return call.AudioTimeOut, true
	case member == "output_cost_per_second" && mode == "audio_transcription":
		return 0, false // the same second once more
	case member == "input_cost_per_second", member == "output_cost_per_second":
		return call.ComputeTime, true
	}
	u, ok = liteUnits[member]
	return u, ok
}

// readSearches takes the dearest of the sizes of a web search.
func (e liteEntry) readSearches(member, what string, lists map[listKey]map[int64]*table.Rates, r *Report) error {
	var sizes map[string]json.RawMessage
	if json.Unmarshal(e[member], &sizes) != nil {
		return nil
	}
	for size, data := range sizes {
		pico, ok, err := e.price(data, call.Searches, what+" "+size, r)
		if err != nil {
			return err
		}
		if ok {
			e.put(lists, listKey{}, 0, call.Searches, pico)
		}
	}
	return nil
}

// readTiers takes context tiers that stand in a list of their own.
func (e liteEntry) readTiers(variant, what string, lists map[listKey]map[int64]*table.Rates, r *Report) error {
	var tiers []map[string]json.RawMessage
	if e["tiered_pricing"] == nil || json.Unmarshal(e["tiered_pricing"], &tiers) != nil {
		return nil
	}
	for _, tier := range tiers {
		var span []json.Number
		if json.Unmarshal(tier["range"], &span) != nil || len(span) == 0 {
			r.Dropped = append(r.Dropped, "litellm: "+what+": a tier without a range of tokens")
			continue
		}
		from, err := span[0].Float64()
		if err != nil {
			return err
		}
		for member, data := range tier {
			unit, known := e.unit(member)
			if !known {
				continue
			}
			pico, ok, err := e.price(data, unit, what+" "+member, r)
			if err != nil {
				return err
			}
			if ok {
				e.put(lists, listKey{variant: variant}, int64(from), unit, pico)
			}
		}
	}
	return nil
}

// readRegions takes the factors of regions, and of the fast service, which is so many times the standard one.
func (e liteEntry) readRegions(m *table.Model) {
	var own map[string]json.RawMessage
	_ = json.Unmarshal(e["provider_specific_entry"], &own)
	for region, data := range map[string]json.RawMessage{
		"us": cmpRaw(e["regional_processing_uplift_multiplier_us"], own["us"]), "eu": e["regional_processing_uplift_multiplier_eu"],
		"regional": e["regional_endpoint_uplift_multiplier"],
	} {
		if factor, ok := thousandths(data); ok && factor != 1000 {
			if m.Regions == nil {
				m.Regions = map[string]int64{}
			}
			m.Regions[region] = factor
		}
	}
	if factor, ok := thousandths(own["fast"]); ok {
		m.Prices = append(m.Prices, timesStandard(m.Prices, factor)...)
	}
}

func cmpRaw(a, b json.RawMessage) json.RawMessage {
	if a != nil {
		return a
	}
	return b
}

func thousandths(data json.RawMessage) (int64, bool) {
	var n json.Number
	if data == nil || json.Unmarshal(data, &n) != nil {
		return 0, false
	}
	pico, err := picoUSD(n, 1_000_000_000, "", &Report{})
	return pico, err == nil && pico >= table.MinFactor && pico <= table.MaxFactor
}

// timesStandard is the fast service's list, by the standard one's.
func timesStandard(prices []table.Schedule, factor int64) (fast []table.Schedule) {
	for _, s := range prices {
		if s.Service != "" {
			continue
		}
		s.Service, s.Tiers = "fast", slices.Clone(s.Tiers)
		for i := range s.Tiers {
			for u, price := range s.Tiers[i].Price {
				if price != table.None && call.Table[u].Scaled {
					s.Tiers[i].Price[u] = price * factor / 1000
				}
			}
		}
		fast = append(fast, s)
	}
	return fast
}

package gemini

import (
	"encoding/json"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// modelList is the answer to GET /models: one page, which is the last.
type modelList struct {
	Models []modelEntry `json:"models"`
}

type modelEntry struct {
	Name        string   `json:"name"`
	BaseModelID string   `json:"baseModelId"`
	DisplayName string   `json:"displayName"`
	Methods     []string `json:"supportedGenerationMethods"`
}

func entryOf(m providers.Model) modelEntry {
	return modelEntry{
		Name: "models/" + m.ID, BaseModelID: m.ID, DisplayName: m.ID,
		Methods: []string{"generateContent", "countTokens", "embedContent"},
	}
}

// Models lists models, or describes the one that the path names.
func (Dialect) Models(op providers.Operation, models []providers.Model) providers.Reply {
	if op.Params["model"] != "" {
		return jsonReply(entryOf(models[0]))
	}
	list := modelList{Models: make([]modelEntry, len(models))}
	for i, m := range models {
		list.Models[i] = entryOf(m)
	}
	return jsonReply(list)
}

func jsonReply(v any) providers.Reply {
	body, err := json.Marshal(v)
	if err != nil { // strings always can be
		return providers.Reply{Status: 500}
	}
	return providers.Reply{Status: 200, Header: jsonHeader(), Body: append(body, '\n')}
}

func jsonHeader() map[string][]string {
	return map[string][]string{"Content-Type": {"application/json; charset=UTF-8"}}
}

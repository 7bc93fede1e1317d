package anthropic

import (
	"encoding/json"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// modelList is the answer to GET /v1/models: one page, which is the last.
type modelList struct {
	Data    []modelEntry `json:"data"`
	FirstID *string      `json:"first_id"`
	LastID  *string      `json:"last_id"`
	HasMore bool         `json:"has_more"`
}

type modelEntry struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

// unknownDay is what the API says where it does not know when a model was released.
const unknownDay = "1970-01-01T00:00:00Z"

func entryOf(m providers.Model) modelEntry {
	return modelEntry{Type: "model", ID: m.ID, DisplayName: m.ID, CreatedAt: unknownDay}
}

// Models lists models, or describes the one that the path names.
func (d Dialect) Models(op providers.Operation, models []providers.Model) providers.Reply {
	if op.Params["model"] != "" {
		return jsonReply(entryOf(models[0]))
	}
	list := modelList{Data: make([]modelEntry, len(models))}
	for i, m := range models {
		list.Data[i] = entryOf(m)
	}
	if n := len(models); n > 0 {
		list.FirstID, list.LastID = &models[0].ID, &models[n-1].ID
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

package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"testing"
)

// checkReported checks that the report of all replicas' receipts comes to what the ledger says was spent.
func checkReported(t testing.TB, replicas []*replica, spent string) {
	t.Helper()
	args := []string{"report", "--by", "tenant", "--format", "json"}
	for _, r := range replicas {
		args = append(args, r.data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, args...).Output() // what a killed replica did not write is noted beside
	var rows []struct {
		Spent string `json:"spent_usd"`
		Open  int64
	}
	if bad := json.Unmarshal(out, &rows); err != nil || bad != nil {
		t.Errorf("report: %v, %v\n%s", err, bad, out)
		return
	}
	if len(rows) != 1 || rows[0].Spent != spent || rows[0].Open != 0 {
		t.Errorf("reported %+v, and the ledger has spent %s", rows, spent)
	}
}

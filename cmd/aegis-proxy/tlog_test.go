package main

import (
	"context"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// writeReceipts appends receipts to a data directory, each in a file of its
// own, as a proxy would after a long time. RECEIPT becomes the last one's id.
func writeReceipts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: receipts DATA COUNT")
	}
	data := ts.MkAbs(args[0])
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	signer, err := audit.LoadSigner(filepath.Join(data, signingKeyFile))
	ts.Check(err)
	log, err := audit.Open(audit.Config{Dir: filepath.Join(data, receiptsDir), Signer: signer, SegmentBytes: 1})
	ts.Check(err)
	first := log.Heads()["acme"].Event + 1
	for i := range count {
		ref, err := log.Append(context.Background(), audit.Event{Tenant: "acme", Epoch: "e", Name: "policy", Event: first + int64(i)})
		ts.Check(err)
		ts.Setenv("RECEIPT", ref.ID)
	}
	ts.Check(log.Close())
}

// writeDenials appends a receipt of several denials. RECEIPT becomes its id.
func writeDenials(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: denials DATA")
	}
	data := ts.MkAbs(args[0])
	signer, err := audit.LoadSigner(filepath.Join(data, signingKeyFile))
	ts.Check(err)
	log, err := audit.Open(audit.Config{Dir: filepath.Join(data, receiptsDir), Signer: signer})
	ts.Check(err)
	told := audit.Denials{ID: audit.NewDenialsID(), Count: 8500, Until: 2}
	_, err = log.Append(context.Background(), audit.Decision{At: 1, Verdict: audit.Deny, Reasons: []string{"budget_exhausted"}, Denials: told})
	ts.Check(err)
	ts.Setenv("RECEIPT", told.ID)
	ts.Check(log.Close())
}

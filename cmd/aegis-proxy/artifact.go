package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/aegis-proxy/aegis-proxy/oxdeai"
)

// artifactConfig is what verify demands of an artifact of the OxDeAI protocol.
type artifactConfig struct {
	KeySetsPath string
	Issuer      string
	Audience    string
	PolicyID    string
	Head        string
	At          int64
}

func (c *artifactConfig) flags(f *pflag.FlagSet) {
	f.StringVar(&c.KeySetsPath, "keysets", "", "key sets that an OxDeAI artifact is to be signed with, as in /.well-known/aegis-keys.json")
	f.StringVar(&c.Issuer, "issuer", "", "issuer that an OxDeAI artifact must have")
	f.StringVar(&c.Audience, "audience", "", "audience that an authorization must have")
	f.StringVar(&c.PolicyID, "policy-id", "", "policy id that an OxDeAI artifact must have")
	f.StringVar(&c.Head, "head", "", "hash that an OxDeAI audit log must end with, kept elsewhere")
	f.Int64Var(&c.At, "at", 0, "Unix time in seconds at which an OxDeAI artifact is judged (default: now)")
}

// artifact is a file of the OxDeAI protocol: an authorization, an envelope, a
// snapshot or an audit log.
type artifact struct {
	kind   string
	verify func(c *artifactConfig, trust oxdeai.Trust) oxdeai.Result
}

// readArtifact returns nil for a file that is none.
func readArtifact(path string) (*artifact, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > oxdeai.MaxDocumentBytes {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if a := objectArtifact(data); a != nil {
		return a, nil
	}
	return eventsArtifact(data), nil
}

// objectArtifact is one whose file is a single object, told by its members.
func objectArtifact(data []byte) *artifact {
	v, err := oxdeai.Parse(data)
	o, ok := v.(*oxdeai.Object)
	if err != nil || !ok {
		return nil
	}
	switch {
	case has(o, "auth_id", "intent_hash"):
		return &artifact{"authorization", func(c *artifactConfig, trust oxdeai.Trust) oxdeai.Result {
			return oxdeai.VerifyAuthorization(o, c.At, oxdeai.AuthorizationOptions{
				Trust: trust, ExpectedIssuer: c.Issuer, ExpectedAudience: c.Audience, ExpectedPolicyID: c.PolicyID,
			})
		}}
	case has(o, "snapshot", "events"):
		return &artifact{"envelope", func(c *artifactConfig, trust oxdeai.Trust) oxdeai.Result {
			return oxdeai.VerifyEnvelope(data, c.At, oxdeai.EnvelopeOptions{
				Trust: trust, ExpectedIssuer: c.Issuer, ExpectedPolicyID: c.PolicyID,
			})
		}}
	case has(o, "formatVersion", "modules"):
		return &artifact{"snapshot", func(c *artifactConfig, _ oxdeai.Trust) oxdeai.Result {
			return oxdeai.VerifySnapshot(data, c.PolicyID)
		}}
	}
	return nil
}

func has(o *oxdeai.Object, names ...string) bool {
	for _, name := range names {
		if _, ok := o.Get(name); !ok {
			return false
		}
	}
	return true
}

// eventsArtifact is an audit log, in an array or a line each. Receipts are
// lines too, with other members.
func eventsArtifact(data []byte) *artifact {
	if first, _ := oxdeai.Parse(firstLine(data)); isReceipt(first) {
		return nil
	}
	events, err := oxdeai.DecodeEvents(data)
	if err != nil || len(events) == 0 {
		return nil
	}
	first, ok := events[0].(*oxdeai.Object)
	if !ok || !has(first, "type", "timestamp") {
		return nil
	}
	return &artifact{"audit log", func(c *artifactConfig, _ oxdeai.Trust) oxdeai.Result {
		return oxdeai.VerifyAuditEvents(events, oxdeai.AuditOptions{ExpectedPolicyID: c.PolicyID, ExpectedHead: c.Head})
	}}
}

func firstLine(data []byte) []byte {
	line, _ := bufio.NewReader(bytes.NewReader(data)).ReadBytes('\n')
	return line
}

func isReceipt(v oxdeai.Value) bool {
	o, ok := v.(*oxdeai.Object)
	return ok && has(o, "body", "chain")
}

// verifyArtifact says what is wrong with an artifact, each violation a line.
func verifyArtifact(cmd *cobra.Command, c artifactConfig, path string, a *artifact) error {
	trust, err := c.trust()
	if err != nil {
		return err
	}
	if c.At == 0 {
		c.At = time.Now().Unix()
	}
	result := a.verify(&c, trust)
	printVerdict(cmd.OutOrStdout(), path, a.kind, result)
	if !result.OK() {
		printAdvice(cmd.OutOrStdout(), result)
		return errReported
	}
	return nil
}

// missing says what to give verify where it lacks what only its caller has.
var missing = map[oxdeai.Code]string{
	oxdeai.CodeTrustedKeySetsRequired: "give the signer's key sets with --keysets FILE; a proxy answers with its own at " + keySetPath,
	oxdeai.CodeNoHeadAnchor:           "give the hash that the log must end with, as you kept it, with --head",
}

func printAdvice(w io.Writer, r oxdeai.Result) {
	for _, v := range r.Violations {
		if advice := missing[v.Code]; advice != "" {
			fmt.Fprintf(w, "to check it, %s\n", advice)
		}
	}
}

func (c *artifactConfig) trust() (oxdeai.Trust, error) {
	if c.KeySetsPath == "" {
		return oxdeai.Trust{}, nil
	}
	text, err := os.ReadFile(c.KeySetsPath)
	if err != nil {
		return oxdeai.Trust{}, fmt.Errorf("--keysets: %w", err)
	}
	sets, err := oxdeai.ParseKeySets(text)
	if err != nil {
		return oxdeai.Trust{}, fmt.Errorf("--keysets %s: %w", c.KeySetsPath, err)
	}
	return oxdeai.Trust{KeySets: sets}, nil
}

func printVerdict(w io.Writer, path, kind string, r oxdeai.Result) {
	fmt.Fprintf(w, "%s: %s: %s\n", path, kind, r.Status)
	for _, v := range r.Violations {
		at := ""
		if v.Indexed {
			at = fmt.Sprintf(" (event %d)", v.Index)
		}
		fmt.Fprintf(w, "  %s: %s%s\n", v.Code, v.Message, at)
	}
	for _, fact := range [][2]string{{"policy", r.PolicyID}, {"state", r.StateHash}, {"head", r.AuditHeadHash}} {
		if fact[1] != "" {
			fmt.Fprintf(w, "  %s %s\n", fact[0], fact[1])
		}
	}
}

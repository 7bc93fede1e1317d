package oxdeai

import (
	"strconv"
	"testing"
)

func BenchmarkVerifyAuditEvents(b *testing.B) {
	for _, n := range []int{4, 1000, 100_000} {
		events := make([]Value, 0, n)
		for len(events) < n {
			events = append(events, testEvents(testHash('1'))...)
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r := VerifyAuditEvents(events, AuditOptions{AcceptUnanchoredHead: true}); !r.OK() {
					b.Fatal(r.Reasons())
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/event")
		})
	}
}

func BenchmarkDecodeEvents(b *testing.B) {
	var events []Value
	for len(events) < 1000 {
		events = append(events, testEvents(testHash('1'))...)
	}
	data := mustCanonical(b, events)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeEvents(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyAuthorization(b *testing.B) {
	sets, err := ParseKeySets([]byte(keySetText(b, testIssuer, "")))
	if err != nil {
		b.Fatal(err)
	}
	secret := []byte(testHMACSecret)
	for _, bench := range []struct {
		name string
		auth *Object
		opts AuthorizationOptions
	}{
		{"Ed25519", signedAuth(b), AuthorizationOptions{Trust: Trust{KeySets: sets}}},
		{"Ed25519 key as text", signedAuth(b), AuthorizationOptions{Trust: testTrust(b)}},
		{"Ed25519 nested", nestedAuth(b), AuthorizationOptions{Trust: Trust{KeySets: sets}}},
		{"HMAC", hmacAuth(b), AuthorizationOptions{Trust: Trust{KeySets: sets}, LegacyHMACSecret: secret}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r := VerifyAuthorization(bench.auth, testNow, bench.opts); !r.OK() {
					b.Fatal(r.Reasons())
				}
			}
		})
	}
}

func BenchmarkVerifyEnvelope(b *testing.B) {
	data, trust := testEnvelope(b), testTrust(b)
	b.ReportAllocs()
	for b.Loop() {
		if r := VerifyEnvelope(data, testNow, EnvelopeOptions{Trust: trust}); !r.OK() {
			b.Fatal(r.Reasons())
		}
	}
}

package anthropic

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

func admits(t *providers.Terms, e call.Extra) bool { return false }

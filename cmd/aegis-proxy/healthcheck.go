package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newHealthcheck() *cobra.Command {
	var address string
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running proxy whether it is ready: exits 0 if it is, and 1 with the reason",
		Long: `Healthcheck asks /readyz at the admin address. A container without a shell can
be checked by it, as in HEALTHCHECK CMD ["/usr/local/bin/aegis-proxy", "healthcheck"].`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return checkHealth(cmd.Context(), address, limit) },
	}
	cmd.Flags().StringVar(&address, "admin", "http://127.0.0.1:8081", "the proxy's admin address")
	cmd.Flags().DurationVar(&limit, "timeout", 5*time.Second, "how long to wait for the answer")
	return cmd
}

// checkHealth is nil if the proxy says that it is ready.
func checkHealth(ctx context.Context, address string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, adminAt(address)+"/readyz", nil)
	if err != nil {
		return err
	}
	status, body, err := askProxy(req)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("not ready: %s", strings.TrimSpace(string(body)))
	}
	return nil
}

package redis

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// senders is how many batches may be on their way at once, one that a caller
	// alone sends among them: while the server works on one the next is made up.
	senders = 2

	// batchCalls bounds the scripts of one batch.
	batchCalls = 64

	// queueCalls bounds the scripts that wait for a sender. Past it a caller
	// waits, as long as its context lasts.
	queueCalls = 1024
)

// errUnsent: the context ended before the script was sent.
var errUnsent = errors.New("not sent in time")

// evaluator runs scripts.
type evaluator interface {
	EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd
	Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd
}

// batches is an evaluator that sends what many callers ask for at the same
// time in one write, and reads the replies together: most of what a call costs
// either side is the way there and back. A caller alone sends at once, on its own
// time: to wake a sender and be woken by it would cost more than the sending.
type batches struct {
	client *redis.Client
	queue  chan *outgoing
	ways   chan struct{} // holds a token for each batch on its way
	quit   chan struct{}
	once   sync.Once
	done   sync.WaitGroup
}

// outgoing is a command on its way. Its caller, who stops waiting when the
// context ends, or a sender takes it, whoever is first.
type outgoing struct {
	cmd      *redis.Cmd
	deadline time.Time
	taken    atomic.Bool
	replied  chan struct{}
}

func newBatches(client *redis.Client) *batches {
	b := &batches{client: client, queue: make(chan *outgoing, queueCalls),
		ways: make(chan struct{}, senders), quit: make(chan struct{})}
	for range senders {
		b.done.Go(b.send)
	}
	return b
}

// close stops the senders. What is still queued is not sent.
func (b *batches) close() {
	b.once.Do(func() { close(b.quit) })
	b.done.Wait()
}

func (b *batches) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	return b.do(ctx, evalCmd(ctx, "evalsha", sha1, keys, args))
}

func (b *batches) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return b.do(ctx, evalCmd(ctx, "eval", script, keys, args))
}

func evalCmd(ctx context.Context, name, script string, keys []string, args []any) *redis.Cmd {
	whole := make([]any, 0, 3+len(keys)+len(args))
	whole = append(whole, name, script, len(keys))
	for _, key := range keys {
		whole = append(whole, key)
	}
	return redis.NewCmd(ctx, append(whole, args...)...)
}

func (b *batches) do(ctx context.Context, cmd *redis.Cmd) *redis.Cmd {
	if b.alone() {
		return b.doAlone(ctx, cmd)
	}
	deadline, _ := ctx.Deadline()
	o := &outgoing{cmd: cmd, deadline: deadline, replied: make(chan struct{})}
	select {
	case b.queue <- o:
	case <-ctx.Done():
		return failed(ctx, errUnsent)
	case <-b.quit:
		return failed(ctx, redis.ErrClosed)
	}
	select {
	case <-o.replied:
		return cmd
	case <-ctx.Done():
		if o.taken.CompareAndSwap(false, true) {
			return failed(ctx, errUnsent)
		}
		return failed(ctx, context.Cause(ctx))
	case <-b.quit:
		return failed(ctx, redis.ErrClosed)
	}
}

// alone reports whether nobody else has a script on its way; then the caller has one,
// which doAlone ends.
func (b *batches) alone() bool {
	if len(b.ways) > 0 || len(b.queue) > 0 {
		return false
	}
	select {
	case b.ways <- struct{}{}:
		return true
	default:
		return false
	}
}

// doAlone sends a command and waits for its reply until the context's deadline.
func (b *batches) doAlone(ctx context.Context, cmd *redis.Cmd) *redis.Cmd {
	defer func() { <-b.ways }()
	select {
	case <-b.quit:
		return failed(ctx, redis.ErrClosed)
	default:
	}
	if ctx.Err() != nil {
		return failed(ctx, errUnsent)
	}
	b.pipe(ctx, cmd)
	return cmd
}

// pipe sends commands in one write. Each carries its own error.
func (b *batches) pipe(ctx context.Context, commands ...*redis.Cmd) {
	pipe := b.client.Pipeline()
	for _, cmd := range commands {
		_ = pipe.Process(ctx, cmd) // only queues it
	}
	_, _ = pipe.Exec(ctx)
}

func failed(ctx context.Context, err error) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(err)
	return cmd
}

// send is one sender.
func (b *batches) send() {
	for {
		select {
		case first := <-b.queue:
			b.ways <- struct{}{}
			runtime.Gosched() // who was answered together asks together
			b.exchange(b.gather(first))
			<-b.ways
		case <-b.quit:
			return
		}
	}
}

// gather takes what waits, up to a batch.
func (b *batches) gather(first *outgoing) []*outgoing {
	batch := make([]*outgoing, 0, min(1+len(b.queue), batchCalls))
	for next := first; ; {
		if next.taken.CompareAndSwap(false, true) {
			batch = append(batch, next)
		}
		if len(batch) == batchCalls {
			return batch
		}
		select {
		case next = <-b.queue:
		default:
			return batch
		}
	}
}

// exchange sends a batch and has its callers know when the replies are there.
func (b *batches) exchange(batch []*outgoing) {
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), latest(batch))
	defer cancel()
	commands := make([]*redis.Cmd, len(batch))
	for i, o := range batch {
		commands[i] = o.cmd
	}
	b.pipe(ctx, commands...)
	for _, o := range batch {
		close(o.replied)
	}
}

// latest is when the last caller of a batch gives up.
func latest(batch []*outgoing) time.Time {
	end := time.Now().Add(time.Millisecond)
	for _, o := range batch {
		if o.deadline.After(end) {
			end = o.deadline
		}
	}
	return end
}

package proxy

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"pgregory.net/rapid"
)

// fill takes bytes for a tenant, piece by piece, until it gets no more.
func fill(in *intake, tenant string, piece int64) *room {
	m := in.open(tenant)
	for m.take(piece) == nil {
	}
	return m
}

// TestIntakeShares: who is alone has half; each further tenant that takes all it
// gets finds as much as is left, halved, and nobody is left without.
func TestIntakeShares(t *testing.T) {
	in := newIntake(1 << 20)
	left := int64(1 << 20)
	for _, tenant := range []string{"a", "b", "c", "d"} {
		m := fill(in, tenant, 1)
		if m.bytes != left/2 {
			t.Errorf("%s got %d of %d bytes", tenant, m.bytes, left)
		}
		if second := in.open(tenant); second.take(1) == nil {
			t.Errorf("%s got more in a second request", tenant)
		}
		left -= m.bytes
	}
}

// TestIntakeProperty: whoever takes, gives and ends in whatever order, the bytes
// taken are those of the rooms, never more than there are, and none at the end.
func TestIntakeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := newIntake(rapid.Int64Range(0, 1000).Draw(t, "most"))
		var rooms []*room
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(rooms) == 0 || rapid.IntRange(0, 3).Draw(t, "open") == 0 {
				rooms = append(rooms, in.open(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tenant")))
			}
			m := rapid.SampledFrom(rooms).Draw(t, "room")
			switch rapid.SampledFrom([]string{"take", "take", "give", "end"}).Draw(t, "verb") {
			case "take":
				_ = m.take(rapid.Int64Range(0, 300).Draw(t, "bytes"))
			case "give":
				m.give(rapid.Int64Range(0, m.bytes).Draw(t, "bytes"))
			default:
				m.end()
			}
			mustAddUp(t, in, rooms)
		}
		for _, m := range rooms {
			m.end()
			m.end()
		}
		if in.taken != 0 || len(in.tenants) != 0 {
			t.Fatalf("%d bytes left of %v", in.taken, in.tenants)
		}
	})
}

func mustAddUp(t *rapid.T, in *intake, rooms []*room) {
	byTenant, sum := map[string]int64{}, int64(0)
	for _, m := range rooms {
		sum += m.bytes
		if byTenant[m.tenant] += m.bytes; byTenant[m.tenant] == 0 {
			delete(byTenant, m.tenant)
		}
	}
	if sum != in.taken || sum > in.most || len(byTenant) != len(in.tenants) {
		t.Fatalf("%d of %d bytes taken by %v, the rooms have %d: %v", in.taken, in.most, in.tenants, sum, byTenant)
	}
	for tenant, n := range byTenant {
		if in.tenants[tenant] != n {
			t.Fatalf("%s has %d bytes, its rooms %d", tenant, in.tenants[tenant], n)
		}
	}
}

// TestIntakeAtOnce: rooms may be used by many at once.
func TestIntakeAtOnce(t *testing.T) {
	in := newIntake(1 << 20)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 200 {
				m := in.open(string(rune('a' + i%3)))
				_ = m.take(1000)
				m.end()
			}
		})
	}
	group.Wait()
	if in.taken != 0 || len(in.tenants) != 0 {
		t.Errorf("%d bytes left of %v", in.taken, in.tenants)
	}
}

// TestPiecesArePaidAsTheyArrive: whatever is announced, and however the reads are
// cut, the body comes out whole, and what is taken is its size at the end and on the
// way no more than twice what has come.
func TestPiecesArePaidAsTheyArrive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := make([]byte, rapid.SampledFrom([]int{0, 1, 4096, chunkPiece, firstPiece - 1, firstPiece, firstPiece + 1, 1 << 20, 5<<20 + 7}).Draw(t, "size"))
		for i := range body {
			body[i] = byte(i * 7)
		}
		announced := rapid.SampledFrom([]int64{-1, int64(len(body))}).Draw(t, "announced")
		in := newIntake(1 << 30)
		m := in.open("a")
		source := &measured{Reader: bytes.NewReader(body), room: m}
		var r io.Reader = source
		if rapid.Bool().Draw(t, "halves") {
			r = iotest.HalfReader(r)
		}
		got, err := m.readPieces(r, announced)
		if err != nil || !bytes.Equal(got.join(), body) || got.size() != int64(len(body)) {
			t.Fatalf("%d bytes, %v, want %d", got.size(), err, len(body))
		}
		if m.bytes != int64(len(body)) {
			t.Fatalf("%d bytes taken for %d", m.bytes, len(body))
		}
		if source.most > firstPiece {
			t.Fatalf("%d bytes more were taken than twice what had come", source.most)
		}
	})
}

// measured notes how far a room is ahead of what its reader was given.
type measured struct {
	io.Reader
	room *room
	came int64
	most int64
}

func (r *measured) Read(p []byte) (int, error) {
	r.most = max(r.most, r.room.bytes-2*r.came)
	n, err := r.Reader.Read(p)
	r.came += int64(n)
	return n, err
}

// TestBodyThatBreaksOff is an error, whatever has come; so is one without room. What had come is told beside it.
func TestBodyThatBreaksOff(t *testing.T) {
	broken := errors.New("broken")
	for _, row := range []struct {
		name   string
		most   int64
		length int64
		body   io.Reader
		want   error
		came   int64
	}{
		{"short", 1 << 30, 100, bytes.NewReader(make([]byte, 99)), io.ErrUnexpectedEOF, 99},
		{"none of it", 1 << 30, 100, bytes.NewReader(nil), io.ErrUnexpectedEOF, 0},
		{"broken off, in chunks", 1 << 30, -1, io.MultiReader(bytes.NewReader(make([]byte, 99)), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF, 99},
		{"broken, announced", 1 << 30, 1 << 20, io.MultiReader(bytes.NewReader(make([]byte, firstPiece)), iotest.ErrReader(broken)), broken, firstPiece},
		{"broken, in chunks", 1 << 30, -1, io.MultiReader(bytes.NewReader(make([]byte, 99)), iotest.ErrReader(broken)), broken, 99},
		{"no room for the first piece", 99, 100, bytes.NewReader(make([]byte, 100)), errCrowded, 0},
		{"no room for the next", 3 * firstPiece, 1 << 20, bytes.NewReader(make([]byte, 1<<20)), errCrowded, firstPiece},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := newIntake(row.most)
			m := in.open("a")
			if got, err := m.readPieces(row.body, row.length); !errors.Is(err, row.want) || got.size() != row.came {
				t.Errorf("%d bytes, %v, want %d, %v", got.size(), err, row.came, row.want)
			}
			m.end()
			if in.taken != 0 {
				t.Errorf("%d bytes left", in.taken)
			}
		})
	}
}

// TestReadersTakeTurns: a client that sends as fast as it is read waits for its turn to
// be read, and one that then sends no more keeps it for a moment only.
func TestReadersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake(1 << 30)
		in.turns = make(turns, 1)
		done, err := in.turns.take(t.Context(), longWork)
		if err != nil {
			t.Fatal(err)
		}
		ahead, stalls := make(chan int64), make(chan int64)
		reads := func(r io.Reader, came chan int64) {
			got, _ := in.open("a").readPieces(r, 1<<20)
			came <- got.size()
		}
		source, client := io.Pipe()
		go reads(bytes.NewReader(make([]byte, 1<<20)), ahead)
		go reads(source, stalls)
		go client.Write(make([]byte, firstPiece+2*turnBytes))
		synctest.Wait()
		select {
		case <-ahead:
			t.Error("it was read out of turn")
		default:
		}
		done()
		if got := <-ahead; got != 1<<20 {
			t.Errorf("%d bytes were read beside a client that stalls", got)
		}
		client.CloseWithError(io.ErrUnexpectedEOF)
		if <-stalls; len(in.turns) != 0 {
			t.Error("a turn did not end")
		}
	})
}

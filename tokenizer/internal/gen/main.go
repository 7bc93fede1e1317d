// Command gen writes the vocabulary files of package tokenizer.
//
// It reads the rank files that OpenAI publishes, as embedded by
// tiktoken-go-loader, checks them against the SHA-256 sums that OpenAI's
// tiktoken pins, and writes each to ranks/NAME.bin.gz in the format that
// the package comment of tokenizer gives.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"

	"github.com/pkoukk/tiktoken-go-loader/assets"
)

// sums are the SHA-256 sums of the published files, from tiktoken's
// openai_public.py. r50k_base needs no file: it is the first 50,256 tokens of
// p50k_base.
var sums = map[string]string{
	"o200k_base":  "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
	"cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
	"p50k_base":   "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: gen DIRECTORY")
	}
	for name, sum := range sums {
		if err := write(os.Args[1], name, sum); err != nil {
			log.Fatalf("gen: %s: %v", name, err)
		}
	}
}

func write(dir, name, sum string) error {
	published, err := assets.Assets.ReadFile(name + ".tiktoken")
	if err != nil {
		return err
	}
	if got := sha256.Sum256(published); hex.EncodeToString(got[:]) != sum {
		return fmt.Errorf("the published file has SHA-256 %x, want %s", got, sum)
	}
	tokens, err := parse(published)
	if err != nil {
		return err
	}
	packed, err := pack(tokens)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".bin.gz"), packed, 0o644)
}

// parse returns the tokens by rising rank. Only the order of ranks matters to
// a merge, so the gap that p50k_base leaves for a special token is closed.
func parse(published []byte) ([][]byte, error) {
	var tokens [][]byte
	last := -1
	for line := range bytes.Lines(published) {
		text, number, ok := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		if !ok {
			return nil, fmt.Errorf("line %d: want a token and a rank", len(tokens)+1)
		}
		token, err := base64.StdEncoding.AppendDecode(nil, text)
		if err != nil {
			return nil, fmt.Errorf("line %d: token: %w", len(tokens)+1, err)
		}
		rank, err := strconv.Atoi(string(number))
		if err != nil {
			return nil, fmt.Errorf("line %d: rank: %w", len(tokens)+1, err)
		}
		if rank <= last {
			return nil, fmt.Errorf("line %d: rank %d does not rise", len(tokens)+1, rank)
		}
		last = rank
		tokens = append(tokens, token)
	}
	return tokens, nil
}

func pack(tokens [][]byte) ([]byte, error) {
	plain := binary.LittleEndian.AppendUint32(nil, uint32(len(tokens)))
	for _, token := range tokens {
		if len(token) == 0 || len(token) > 255 {
			return nil, fmt.Errorf("token %q: length is not 1 to 255 bytes", token)
		}
		plain = append(plain, byte(len(token)))
	}
	for _, token := range tokens {
		plain = append(plain, token...)
	}
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := zip.Write(plain); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

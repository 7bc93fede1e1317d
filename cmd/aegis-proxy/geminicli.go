package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Gemini CLI calls the API by the key and the base URL of the environment only where its
// settings say that a key was chosen. With a login chosen it calls another host, whatever
// the environment says; with nothing chosen and a base URL it does not begin without its
// dialogs. What a program of run could change of its settings has to be root's, so run reads
// them and says what is missing.

// chosenKey is its word for an API key, as security.auth.selectedType.
const chosenKey = "gemini-api-key"

// settings is what run reads of Gemini CLI's settings.
type settings struct {
	Security struct {
		Auth struct {
			SelectedType string `json:"selectedType"`
		} `json:"auth"`
	} `json:"security"`
}

// wantKeyChosen is why Gemini CLI cannot be run under a budget; nil: it can. Its settings are the
// machine's, the user's and those of the directory where it is started; each may have another
// choice, and one of the first two has to have one.
func wantKeyChosen() error {
	home, err := geminiHome()
	if err != nil {
		return err
	}
	user := filepath.Join(home, ".gemini", "settings.json")
	chosen := false
	for i, path := range []string{machineSettings(), user, filepath.Join(".gemini", "settings.json")} {
		choice, err := choiceIn(path)
		if err != nil {
			return fmt.Errorf("gemini: its settings cannot be read, so that it could go past the budget by a login: %w", err)
		}
		if choice != "" && choice != chosenKey {
			return fmt.Errorf("gemini would go past the budget: %s chooses %q; choose an API key there, by /auth or by %s", path, choice, choosing)
		}
		chosen = chosen || choice != "" && i < 2
	}
	if !chosen {
		return fmt.Errorf("gemini: no API key is chosen in %s; choose it, by /auth or by %s", user, choosing)
	}
	return nil
}

// choosing are the settings that choose a key.
const choosing = `{"security": {"auth": {"selectedType": "` + chosenKey + `"}}}`

func geminiHome() (string, error) {
	if home := os.Getenv("GEMINI_CLI_HOME"); home != "" {
		return home, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("gemini: its settings are not found: %w", err)
	}
	return home, nil
}

// machineSettings are those that an administrator gives all users.
func machineSettings() string {
	dir := "/etc/gemini-cli"
	switch runtime.GOOS {
	case "darwin":
		dir = "/Library/Application Support/GeminiCli"
	case "windows":
		dir = `C:\ProgramData\gemini-cli`
	}
	return cmp.Or(os.Getenv("GEMINI_CLI_SYSTEM_SETTINGS_PATH"), filepath.Join(dir, "settings.json"))
}

// choiceIn is how a file of settings says that Gemini CLI identifies itself; "": it says
// nothing, or is not there.
func choiceIn(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var s settings
	if err := json.Unmarshal(uncommented(text), &s); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return s.Security.Auth.SelectedType, nil
}

// uncommented is JSON without its comments, which these settings may have.
func uncommented(text []byte) (out []byte) {
	for len(text) > 0 {
		n := 1
		switch {
		case text[0] == '"':
			n = stringLength(text)
		case bytes.HasPrefix(text, []byte("//")):
			text = text[lengthUntil(text, "\n"):]
			continue
		case bytes.HasPrefix(text, []byte("/*")):
			text = text[lengthUntil(text, "*/"):]
			continue
		}
		out, text = append(out, text[:n]...), text[n:]
	}
	return out
}

// stringLength is how many bytes the string has that a text begins with, as far as it is there.
func stringLength(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// lengthUntil is how many bytes a text has up to the end of a mark behind its first two bytes.
func lengthUntil(text []byte, mark string) int {
	if at := bytes.Index(text[2:], []byte(mark)); at >= 0 {
		return 2 + at + len(mark)
	}
	return len(text)
}

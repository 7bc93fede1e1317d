package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// flagsFromEnv sets every flag that was not given from its AEGIS_ variable.
func flagsFromEnv(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := variableOf(f)
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			errs = append(errs, refuseValue("variable "+name, err))
		}
	})
	return errors.Join(errs...)
}

func variableOf(f *pflag.Flag) string {
	return "AEGIS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// refuseFlag says what is wrong on the command line.
func refuseFlag(cmd *cobra.Command, err error) error {
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		err = refuseValue("--"+wrong.GetFlag().Name, err)
	}
	return fmt.Errorf("%w; see %s --help%s", err, cmd.CommandPath(), didYouMeanFlag(cmd, err))
}

// didYouMeanFlag names the flag that an unknown one may be a slip of.
func didYouMeanFlag(cmd *cobra.Command, err error) string {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return ""
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	return perhaps("--", names.Nearest(unknown.GetSpecifiedName(), known))
}

// refuseValue says of a setting what was given and what it takes, in place of
// how Go failed to read it.
func refuseValue(setting string, err error) error {
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return fmt.Errorf("%s: %w", setting, err)
	}
	form := formOf(wrong.GetFlag().Value.Type())
	if errors.Is(err, strconv.ErrRange) {
		form += fmt.Sprintf(", at most %d", math.MaxInt64)
	}
	return fmt.Errorf("%s %q: want %s: %s", setting, wrong.GetValue(), form, wrong.GetFlag().Usage)
}

// refuseEmpty says which of these flags was given, with an empty name in it: what
// narrows a command down would widen it to everything.
func refuseEmpty(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		f := cmd.Flags().Lookup(name)
		given := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			given = list.GetSlice()
		}
		if f.Changed && (len(given) == 0 || slices.Contains(given, "")) {
			return fmt.Errorf("--%s (or %s) is given without a name; name one, or leave it out", name, variableOf(f))
		}
	}
	return nil
}

// formOf is how a flag's value of a type is written.
func formOf(kind string) string {
	switch kind {
	case "int", "int64":
		return "a whole number, in digits without a unit"
	case "duration":
		return "a number with its unit (ms, s, m or h) as 30s or 1m30s"
	case "bool":
		return "true or false"
	}
	return "a " + kind
}

// refuseBelow says of a flag that was given too little.
func refuseBelow(name string, given, least any) error {
	return fmt.Errorf("--%s %v: want at least %v", name, given, least)
}

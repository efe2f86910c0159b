package demo

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"time"
)

// These functions define flags with limits. A value outside of its limits ends the program, as a
// value that cannot be parsed does: the error names the flag and the limit, and the exit code is 2.

// Interval defines a flag for a duration above 0.
func Interval(name string, value time.Duration, usage string) *time.Duration {
	return limited(name, value, usage, time.ParseDuration, func(d time.Duration) error {
		if d <= 0 {
			return errors.New("must be above 0")
		}
		return nil
	})
}

// Time defines a flag for a duration of 0 or more.
func Time(name string, value time.Duration, usage string) *time.Duration {
	return limited(name, value, usage, time.ParseDuration, func(d time.Duration) error {
		if d < 0 {
			return errors.New("must be at least 0")
		}
		return nil
	})
}

// Count defines a flag for a number between least and most.
func Count(name string, value, least, most int, usage string) *int {
	return limited(name, value, usage, strconv.Atoi, func(n int) error {
		if n < least || n > most {
			return fmt.Errorf("must be between %d and %d", least, most)
		}
		return nil
	})
}

func limited[T cmp.Ordered](name string, value T, usage string, parse func(string) (T, error), check func(T) error) *T {
	f := &limit[T]{value, parse, check}
	flag.Var(f, name, usage)
	return &f.value
}

// limit is the value of a flag that is parsed and then checked.
type limit[T any] struct {
	value T
	parse func(string) (T, error)
	check func(T) error
}

func (l *limit[T]) String() string { return fmt.Sprint(l.value) }

func (l *limit[T]) Set(text string) error {
	v, err := l.parse(text)
	if err == nil {
		err = l.check(v)
	}
	if err == nil {
		l.value = v
	}
	return err
}

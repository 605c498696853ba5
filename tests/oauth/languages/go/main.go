// Signs in, or asks for a token with many goroutines: `worker login | tokens PROFILE TASKS`.
// Prints one JSON value a line, and of a token only its digest.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	openclawauth "github.com/openclaw-auth/openclaw-auth/bindings/go"
)

type answer struct {
	Token   string          `json:"token,omitempty"`
	Source  string          `json:"source,omitempty"`
	Code    string          `json:"error,omitempty"`
	Details json.RawMessage `json:"details,omitempty"`
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	engine, err := openclawauth.Open(ctx, openclawauth.Config{ConfigText: "{}"})
	if err != nil {
		return err
	}
	defer engine.Close()
	switch {
	case len(args) == 1 && args[0] == "login":
		return login(ctx, engine)
	case len(args) == 3 && args[0] == "tokens":
		tasks, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return tokens(ctx, engine, args[1], tasks)
	}
	return errors.New("worker login | tokens PROFILE TASKS")
}

func login(ctx context.Context, engine *openclawauth.Engine) error {
	flow, err := engine.OAuth(ctx, "openai-codex", openclawauth.OAuthOptions{TimeoutMs: 30_000})
	if err != nil {
		return err
	}
	defer flow.Close()
	if err := show(map[string]string{"url": flow.URL()}); err != nil {
		return err
	}
	redirect, err := flow.Wait(ctx)
	if err != nil {
		return err
	}
	done, err := flow.Complete(ctx, redirect)
	if err != nil {
		return err
	}
	return show(map[string]string{"profileId": done.ProfileID})
}

func tokens(ctx context.Context, engine *openclawauth.Engine, profile string, tasks int) error {
	answers := make([]answer, tasks)
	failures := make([]error, tasks)
	var all sync.WaitGroup
	for i := range tasks {
		all.Add(1)
		go func() {
			defer all.Done()
			answers[i], failures[i] = ask(ctx, engine, profile)
		}()
	}
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return show(answers)
}

func ask(ctx context.Context, engine *openclawauth.Engine, profile string) (answer, error) {
	token, err := engine.OAuthToken(ctx, "", profile, 0, false)
	var refused *openclawauth.Error
	if errors.As(err, &refused) {
		return answer{Code: refused.Code, Details: refused.Details}, nil
	}
	digest := sha256.Sum256([]byte(token.Access()))
	return answer{Token: fmt.Sprintf("%x", digest[:8]), Source: token.Source}, err
}

func show(value any) error { return json.NewEncoder(os.Stdout).Encode(value) }

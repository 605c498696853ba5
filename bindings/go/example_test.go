//go:build cgo

package openclawauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	openclawauth "github.com/openclaw-auth/openclaw-auth/bindings/go"
)

const config = `{
  gateway: { trustedProxies: ['127.0.0.1'], auth: { mode: 'trusted-proxy',
    trustedProxy: { userHeader: 'x-forwarded-user', allowUsers: ['*@example.com'] } } },
  models: { providers: { openai: { apiKey: '${OPENAI_API_KEY}' } } },
}`

func Example() {
	ctx := context.Background()
	engine, err := openclawauth.Open(ctx, openclawauth.Config{
		ConfigText: config,
		Env:        map[string]string{"OPENAI_API_KEY": "sk-example"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	key, err := engine.Secret("models.providers.openai.apiKey")
	fmt.Println(len(key), err)
	// Output: 10 <nil>
}

func ExampleEngine_Middleware() {
	engine, err := openclawauth.Open(context.Background(), openclawauth.Config{
		ConfigText: config,
		Env:        map[string]string{"OPENAI_API_KEY": "sk-example"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	hello := func(w http.ResponseWriter, r *http.Request) {
		decision, _ := openclawauth.DecisionFrom(r.Context())
		fmt.Fprint(w, "hello ", decision.User)
	}
	server := httptest.NewServer(engine.Middleware(http.HandlerFunc(hello)))
	defer server.Close()
	for _, user := range []string{"nick@example.com", "mallory@evil.example"} {
		r, _ := http.NewRequest(http.MethodGet, server.URL, nil)
		r.Header.Set("X-Forwarded-User", user)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			fmt.Println(err)
			return
		}
		response.Body.Close()
		fmt.Println(response.StatusCode)
	}
	// Output:
	// 200
	// 403
}

func ExampleOpen_missingSecret() {
	_, err := openclawauth.Open(context.Background(), openclawauth.Config{
		ConfigText:   config,
		NoProcessEnv: true,
	})
	var failure *openclawauth.Error
	fmt.Println(errors.Is(err, openclawauth.ErrSecret), errors.As(err, &failure), failure.Code)
	// Output: true true secret_unresolved
}

module github.com/openclaw-auth/openclaw-auth/bindings/go

go 1.24

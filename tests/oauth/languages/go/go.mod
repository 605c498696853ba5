module example.test/login

go 1.24

require github.com/openclaw-auth/openclaw-auth/bindings/go v0.0.0

replace github.com/openclaw-auth/openclaw-auth/bindings/go => ../../../../bindings/go

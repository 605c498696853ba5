// What a program may write, and what must not compile.
import { createServer } from 'node:http';
import express from 'express';
import Fastify from 'fastify';
import { Hono } from 'hono';
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';
import {
  Decision,
  Engine,
  Lease,
  OpenClawAuthError,
  createFetch,
  fastifyAuth,
  guard,
  guardFetch,
  guardUpgrade,
  honoAuth,
  middleware,
  type Verdict,
} from 'openclaw-auth';

export async function all(signal: AbortSignal): Promise<void> {
  const engine: Engine = await Engine.open({ configText: '{}', env: { A: 'b', C: undefined }, signal });
  const secret: string = engine.secret('models.providers.openai.apiKey');
  const lease: Lease = engine.tryLease({ provider: 'openai' }) ?? (await engine.lease({ provider: 'openai', signal }));
  const verdict: Verdict = await lease.report({ status: 429, headers: new Headers(), body: secret });
  if (verdict.kind === 'retry') verdict.delayMs.toFixed();
  if (verdict.kind === 'exhausted') verdict.attempts.map((attempt) => attempt.reason);
  const decision = engine.authorize({ remote: '127.0.0.1', lines: [['Host', 'a']] });
  if (decision.allowed) decision.user?.toUpperCase();
  else decision.code.toUpperCase();
  const unknown: unknown = decision;
  if (unknown instanceof Decision) unknown.allowed.valueOf();

  const server = createServer(guard(engine, (request, response) => response.end(request.openclawAuth.user)));
  server.on('upgrade', guardUpgrade(engine, (request, socket) => socket.end(request.openclawAuth.method)));
  express().use(middleware(engine));
  await Fastify().register(fastifyAuth, { engine });
  new Hono().use(honoAuth(engine));
  guardFetch(
    engine,
    (_request, admission, ip) => new Response(ip + admission.method),
    (_request, ip: string) => ({ remote: ip }),
  );

  const fetch = createFetch(engine, { provider: 'openai', session: 'a' });
  new OpenAI({ apiKey: 'unused', fetch, maxRetries: 0 });
  new Anthropic({ apiKey: 'unused', fetch, maxRetries: 0 });

  try {
    await engine.reload({ signal });
  } catch (error) {
    if (error instanceof OpenClawAuthError) error.retryAfterMs?.toFixed();
  }
  const profiles = await engine.profiles({ provider: 'openai' });
  profiles.profiles.map((profile) => profile.masked);
  engine.close();

  // @ts-expect-error an engine is opened, not constructed
  new Engine();
  // @ts-expect-error no such option
  await Engine.open({ configFile: 'x' });
  // @ts-expect-error a twin that blocks takes no signal
  engine.reloadSync({ signal });
  // @ts-expect-error a refusal has no user
  if (!decision.allowed) decision.user;
  // @ts-expect-error the provider is a string
  engine.tryLease({ provider: 5 });
}

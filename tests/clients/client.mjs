// The cases of cases.json with the libraries for Node: `client.mjs GATEWAY UPSTREAM TOKEN`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [gateway, upstream, token] = process.argv.slice(2);
const cases = JSON.parse(readFileSync(new URL("cases.json", import.meta.url)));
const pieces = ["one ", "two ", "three"];

// Both libraries with one face. Retries of their own are switched off.
function client(vendor, provider, byModel) {
  const base = byModel ? gateway : `${gateway}/proxy/${provider}`;
  const asked = (content) => ({
    model: byModel ? `${provider}/m` : "m",
    messages: [{ role: "user", content }],
  });
  if (vendor === "openai") {
    const api = new OpenAI({ apiKey: token, baseURL: `${base}/v1`, maxRetries: 0 }).chat.completions;
    return {
      whole: async (text) => (await api.create(asked(text))).choices[0].message.content,
      stream: (text) => api.create({ ...asked(text), stream: true }),
      piece: (event) => event.choices[0].delta.content,
    };
  }
  const api = new Anthropic({ authToken: token, apiKey: null, baseURL: base, maxRetries: 0 }).messages;
  return {
    whole: async (text) => (await api.create({ ...asked(text), max_tokens: 9 })).content[0].text,
    stream: (text) => api.create({ ...asked(text), max_tokens: 9, stream: true }),
    piece: (event) => (event.type === "content_block_delta" ? event.delta.text : undefined),
  };
}

const get = async (path) => (await fetch(`${upstream}/${path}`)).json();

async function check(vendor, row) {
  const provider = `${vendor}-node-${row.name}`;
  const { whole, stream, piece } = client(vendor, provider, row.byModel);
  const text = row.large ? "x".repeat(2_000_000) : "hello";
  if (row.status) {
    await assert.rejects(whole(text), (error) => {
      assert.equal(error.status, row.status);
      if (row.status === 429) assert.ok(Number(error.headers.get("retry-after")) <= 20, "soonest");
      return true;
    });
  } else if (row.stream) {
    const got = [];
    for await (const event of await stream(text)) {
      const part = piece(event);
      if (part === undefined) continue;
      got.push(part);
      if (row.cancel) break;
      if (got.length === 1) await get(`go/${provider}`);
    }
    if (row.cancel) await get(`go/${provider}`);
    else assert.deepEqual(got, pieces);
  } else {
    assert.equal(await whole(text), pieces.join(""));
  }
  const notes = await get(`seen/${provider}`);
  assert.deepEqual(notes.seen, row.seen);
  assert.equal(new Set(notes.bodies).size, 1, "every key got the same body");
  assert.equal(notes.gatewayToken, false, "the gateway's token went upstream");
  if (row.stream && !row.cancel) assert.ok(notes.unbuffered, "the first piece came late");
}

let passed = 0;
let failed = 0;
for (const vendor of ["openai", "anthropic"]) {
  for (const row of cases) {
    try {
      await check(vendor, row);
      passed += 1;
    } catch (error) {
      failed += 1;
      console.log(`FAILED node ${vendor} ${row.name}`, error);
    }
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);

import { AsyncLocalStorage } from 'node:async_hooks';
import { fileURLToPath } from 'node:url';
import { Config, run } from '@oclif/core';

/**
 * Runs a cowherd command in this process like bin/run.js: the same arguments, the same commands from dist/, the same JSON. Starting a
 * separate process takes half a second. Tests of exit codes, streams and signals need one: see Lab.cowherd.
 */

interface Sink {
  document: unknown;
}

const sinks = new AsyncLocalStorage<Sink>();
// Like an installed cowherd; otherwise oclif prints warnings for invalid arguments.
process.env.NODE_ENV = 'production';
const config = load();

async function load(): Promise<Config> {
  const loaded = await Config.load(fileURLToPath(new URL('../..', import.meta.url)));
  // Captures the result of all commands. The class comes from oclif, because a module imported by vitest is a different copy.
  const base = Object.getPrototypeOf(await loaded.findCommand('list', { must: true }).load()) as {
    prototype: { logJson(json: unknown): void };
  };
  base.prototype.logJson = (json) => {
    const sink = sinks.getStore();
    if (sink !== undefined) sink.document = json;
  };
  return loaded;
}

/** @param words without --json, which is implied */
export async function runHere(words: readonly string[], env: Record<string, string>): Promise<{ exitCode: number; json: any }> {
  Object.assign(process.env, env);
  // Words after the hyphens are for the guest.
  const end = words.includes('--') ? words.indexOf('--') : words.length;
  const sink: Sink = { document: undefined };
  const loaded = await config;
  await sinks.run(sink, () => run([...words.slice(0, end), '--json', ...words.slice(end)], loaded));
  const exitCode = Number(process.exitCode ?? 0);
  process.exitCode = undefined;
  return { exitCode, json: JSON.parse(JSON.stringify(sink.document ?? null)) };
}

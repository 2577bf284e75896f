import { AsyncLocalStorage } from 'node:async_hooks';
import { fileURLToPath } from 'node:url';
import { Config, run } from '@oclif/core';

/**
 * Runs a command of cowherd in this very process, as bin/run.js does it: the same words, the same commands of dist/, the same document.
 * A process of its own spends half a second before it does anything. What a process is judged by (exit codes, both streams, signals)
 * needs one: see Lab.cowherd.
 */

interface Sink {
  document: unknown;
}

const sinks = new AsyncLocalStorage<Sink>();
// As an installed cowherd runs; else oclif warns of commands that refuse their words.
process.env.NODE_ENV = 'production';
const config = load();

async function load(): Promise<Config> {
  const loaded = await Config.load(fileURLToPath(new URL('../..', import.meta.url)));
  // Where all commands leave their document. The class is asked of oclif, since a module that vitest imports is another copy of it.
  const base = Object.getPrototypeOf(await loaded.findCommand('list', { must: true }).load()) as {
    prototype: { logJson(json: unknown): void };
  };
  base.prototype.logJson = (json) => {
    const sink = sinks.getStore();
    if (sink !== undefined) sink.document = json;
  };
  return loaded;
}

/** @param words without --json, which is always meant */
export async function runHere(words: readonly string[], env: Record<string, string>): Promise<{ exitCode: number; json: any }> {
  Object.assign(process.env, env);
  // What stands behind the hyphens is the guest's.
  const end = words.includes('--') ? words.indexOf('--') : words.length;
  const sink: Sink = { document: undefined };
  const loaded = await config;
  await sinks.run(sink, () => run([...words.slice(0, end), '--json', ...words.slice(end)], loaded));
  const exitCode = Number(process.exitCode ?? 0);
  process.exitCode = undefined;
  return { exitCode, json: JSON.parse(JSON.stringify(sink.document ?? null)) };
}

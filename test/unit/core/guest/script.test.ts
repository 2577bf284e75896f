import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { commandStep, commandSteps, interpreterOf, type ScriptStep, scriptStep } from '../../../../src/core/guest/script.js';

describe('a script for a guest', () => {
  const run = ({ argv: [program = '', ...words], input = '' }: ScriptStep) => {
    const scratch = mkdtempSync(join(tmpdir(), 'cwt-script-'));
    try {
      const { status, stdout } = spawnSync(program, words, { input, encoding: 'utf8', env: { ...process.env, TMPDIR: scratch } });
      return { status, stdout, left: readdirSync(scratch) };
    } finally {
      rmSync(scratch, { recursive: true });
    }
  };

  it.each([
    ['', ['sh']],
    ['echo hello', ['sh']],
    ['# a comment', ['sh']],
    ['#!', ['sh']],
    ['#!/bin/bash\necho', ['/bin/bash']],
    ['#! /usr/bin/env python3\r\n', ['/usr/bin/env', 'python3']],
    ['#!/usr/bin/env -S perl -w  \n', ['/usr/bin/env', '-S perl -w']],
    ['\n#!/bin/bash', ['sh']],
  ])('with the beginning %j runs with %j', (text, words) => expect(interpreterOf(text)).toEqual(words));

  it('runs with the exit code of its end, and leaves no file', () => {
    expect(run(scriptStep('a.sh', 'echo one; exit 7\necho two'))).toEqual({ status: 7, stdout: 'one\n', left: [] });
    expect(run(scriptStep('a.js', '#!/usr/bin/env node\nconsole.log(process.argv.length)'))).toEqual({
      status: 0,
      stdout: '2\n',
      left: [],
    });
  });

  it('is not read by its own commands', () => {
    expect(run(scriptStep('a.sh', 'cat\necho end')).stdout).toBe('end\n');
  });

  it('may have no text that a shell cannot hold', () => {
    const refusal = (hint: string) => expect.objectContaining({ code: 'BAD_USAGE', hint: expect.stringContaining(hint) });
    expect(() => commandStep(' \n')).toThrow(refusal('--run'));
    expect(() => commandStep('a\0b')).toThrow(refusal('plain text'));
    expect(() => commandStep('x'.repeat(33 * 1024))).toThrow(refusal('split'));
    expect(() => scriptStep('a.sh', 'é'.repeat(33 * 1024))).toThrow(refusal('split'));
    expect(() => commandSteps(Array(101).fill('true'))).toThrow(refusal('--script FILE'));
    expect(commandSteps(['a', 'b']).map(({ title }) => title)).toEqual(['a', 'b']);
  });
});

it('passes a command to the shell unchanged', () => {
  const { argv } = commandStep(`printf '%s' "a  b" '$HOME'`);
  expect(execFileSync(argv[0] ?? '', argv.slice(1), { encoding: 'utf8' })).toBe('a  b$HOME');
});

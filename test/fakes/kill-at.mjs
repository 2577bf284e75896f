/**
 * Preloaded into a run of cowherd (`node --import`), it counts persistent changes of the run and kills it with SIGKILL at one of them.
 * cowherd itself is unchanged. A change is anything that outlives the process: a call that writes to the file system, a child process
 * that does, a command to libvirt, an HTTP request that changes something.
 *
 *   CWT_CHANGES=FILE   append a line for each change, before it happens
 *   CWT_KILL_AT=N      kill at the Nth change (from 1), before it happens
 *   CWT_KILL_ON=REGEX  count only the changes whose line matches
 *   CWT_KILL_LATE=1    kill after the change was requested and before it is confirmed: a child process may complete it or not
 *   CWT_SIGNAL=NAME    send this signal instead, and continue
 */
import childProcess from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { syncBuiltinESMExports } from 'node:module';

const { CWT_CHANGES, CWT_KILL_AT, CWT_KILL_ON, CWT_KILL_LATE, CWT_SIGNAL } = process.env;
// Do not pass the preload on to child processes: a Node.js process among them would load it.
for (const name of Object.keys(process.env)) if (name.startsWith('CWT_')) delete process.env[name];
delete process.env.NODE_OPTIONS;

const killAt = CWT_KILL_AT === undefined ? 0 : Number(CWT_KILL_AT);
const counted = new RegExp(CWT_KILL_ON ?? '');
const { writeSync } = fs;
const log = CWT_CHANGES === undefined ? undefined : fs.openSync(CWT_CHANGES, 'a');
let count = 0;
/** node:fs calls itself: nested calls are part of the change. */
let within = false;

/** @returns a function to call once the change has begun */
function change(line) {
  if (log !== undefined) writeSync(log, `${line}\n`);
  if (!counted.test(line) || ++count !== killAt) return () => undefined;
  const end = () => process.kill(process.pid, CWT_SIGNAL ?? 'SIGKILL');
  if (CWT_KILL_LATE === undefined) {
    end();
    return () => undefined;
  }
  return end;
}

function wrap(owner, name, describe) {
  const original = owner[name];
  if (original === undefined) throw new Error(`node:fs has no ${name}`);
  owner[name] = function (...args) {
    const line = within ? undefined : describe(...args);
    if (line === undefined) return original.apply(this, args);
    const asked = change(line);
    within = true;
    let result;
    try {
      result = original.apply(this, args);
    } finally {
      within = false;
    }
    if (result instanceof Promise) return result.finally(asked);
    asked();
    return result;
  };
  // Keep custom promisified versions.
  Object.assign(owner[name], original);
}

const writes = (flags) =>
  typeof flags === 'number' ? (flags & 3) !== 0 || (flags & fs.constants.O_CREAT) !== 0 : /[wa+]/.test(flags ?? 'r');
const paths = {
  rename: (from, to) => `rename ${from} ${to}`,
  unlink: (path) => `unlink ${path}`,
  rm: (path) => `rm ${path}`,
  rmdir: (path) => `rmdir ${path}`,
  mkdir: (path) => (fs.existsSync(path) ? undefined : `mkdir ${path}`),
  chmod: (path) => `chmod ${path}`,
  chown: (path) => `chown ${path}`,
  utimes: (path) => `utimes ${path}`,
  link: (from, to) => `link ${from} ${to}`,
  symlink: (from, to) => `symlink ${from} ${to}`,
  copyFile: (from, to) => `copyFile ${from} ${to}`,
  truncate: (path) => `truncate ${path}`,
  writeFile: (path) => (typeof path === 'object' ? undefined : `writeFile ${path}`),
  appendFile: (path) => (typeof path === 'object' ? undefined : `appendFile ${path}`),
  open: (path, flags) => (writes(flags) ? `open ${path}` : undefined),
};
/** Changed files by descriptor or handle: repeated writes count once. */
const seen = new Set();
const once = (what) => {
  if (seen.has(what)) return undefined;
  seen.add(what);
  return what;
};
const descriptors = {
  fsync: (fd) => `fsync ${fd}`,
  ftruncate: (fd) => `ftruncate ${fd}`,
  write: (fd) => (fd > 2 ? once(`write ${fd}`) : undefined),
};
const probe = await fs.promises.open('/dev/null', 'r');
const handle = Object.getPrototypeOf(probe);
await probe.close();
for (const [name, describe] of Object.entries(paths)) {
  wrap(fs.promises, name, describe);
  wrap(fs, name, describe);
  wrap(fs, `${name}Sync`, describe);
}
for (const [name, describe] of Object.entries(descriptors)) {
  wrap(fs, name, describe);
  wrap(fs, `${name}Sync`, describe);
}
for (const name of ['write', 'writeFile', 'appendFile', 'truncate', 'sync', 'datasync', 'chmod', 'utimes']) {
  const original = handle[name];
  handle[name] = function (...args) {
    const line = once(`${name} handle ${this.fd}`);
    if (line === undefined) return original.apply(this, args);
    const asked = change(line);
    return original.apply(this, args).finally(asked);
  };
}

/** Tools that only read. */
const looks = /^(virsh|pidof|ssh -V|genisoimage --?version|qemu-img (info|check|measure|compare|--version))\b/;
/** virsh commands that change something; the others only read. */
const orders =
  /^(define|undefine|start|destroy|create|shutdown|suspend|resume|save|restore|managedsave|managedsave-remove|metadata .*--set|net-update|snapshot-\w+|attach-\w+|detach-\w+|update-device|domif-setlink|setmem|qemu-monitor-command)\b/;
const { spawn } = childProcess;
childProcess.spawn = (file, args = [], options) => {
  const call = [file, ...args].join(' ');
  const asked = looks.test(call) ? () => undefined : change(call);
  const child = spawn(file, args, options);
  asked();
  if (file === 'virsh' && child.stdin !== null) {
    const { write } = child.stdin;
    child.stdin.write = function (text, ...rest) {
      const lines = String(text)
        .split('\n')
        .filter((line) => orders.test(line));
      const under = lines.map((line) => change(`virsh ${line}`));
      const result = write.call(this, text, ...rest);
      for (const end of under) end();
      return result;
    };
  }
  return child;
};

/** Requests that only read, besides GET: a login, a console log. */
const questions = /^(GET|HEAD|OPTIONS) |\/auth\/tokens$| os-getConsoleOutput$/;
/** The action in the body tells requests to one URL apart. */
const actionIn = (path, body) => (path.endsWith('/action') ? ` ${Object.keys(JSON.parse(body))[0]}` : '');
for (const module of [http, https]) {
  const { request } = module;
  module.request = (...args) => {
    const sent = request(...args);
    const { end } = sent;
    sent.end = function (body, ...rest) {
      const line = `${this.method} ${this.path}${actionIn(this.path, body)}`;
      // Late: the server has done it, and the run has not read the reply.
      if (!questions.test(line)) this.once('response', change(line));
      return end.call(this, body, ...rest);
    };
    return sent;
  };
}
syncBuiltinESMExports();

import { excerptLines } from './text.js';

/** What `cloud-init status` prints. Source: cloud-init 22.4 and 25.1, cloudinit/cmd/status.py */

const states = ['not started', 'not run', 'running', 'done', 'error', 'disabled', 'degraded done', 'degraded running'] as const;

export interface CloudInitStatus {
  /** undefined for a word that cloud-init does not use. */
  state: (typeof states)[number] | undefined;
  /** Further lines, safe to quote in a message. */
  details: string[];
}

export function parseCloudInitStatus(output: string): CloudInitStatus {
  const word = /^status:[ \t]*([a-z -]{1,40}?)[ \t]*\r?$/m.exec(output)?.[1];
  return { state: states.find((state) => state === word), details: excerptLines(output, 6).filter((line) => !line.startsWith('status:')) };
}

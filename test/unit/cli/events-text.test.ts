import { describe, expect, it } from 'vitest';
import { renderEvent } from '../../../src/cli/render/events.js';
import type { FleetEvent } from '../../../src/core/events/fleet-event.js';

const event: FleetEvent = {
  ...{ time: new Date(2026, 0, 1, 9, 5, 7).toISOString(), fleet: 'lab', member: 'lab-003', what: 'state' },
  ...{ from: 'running', to: 'shutOff', operation: null, reason: 'crashed' },
};

describe('an event as text', () => {
  it.each<[Partial<FleetEvent>, string]>([
    [{}, 'lab-003  running → off (crashed)'],
    [{ from: null, reason: 'unknown' }, 'lab-003  off'],
    [{ operation: { verb: 'stop', id: null }, reason: 'shutdown' }, 'lab-003  running → off (shutdown) · stop'],
    [
      { what: 'progress', from: null, to: 'failed', reason: 'TOOL_FAILED', operation: { verb: 'reset', id: 'x' } },
      'lab-003  failed (TOOL_FAILED) · reset',
    ],
    [
      { what: 'command', member: null, from: 'running', to: 'interrupted', reason: null, operation: { verb: 'reset', id: 'x' } },
      'lab  reset running → interrupted',
    ],
    [{ what: 'checkpoint', from: 'a', to: null, reason: null }, 'lab-003  checkpoint removed'],
    [{ what: 'agent', from: null, to: 'connected', reason: 'channel event' }, 'lab-003  agent connected (channel event)'],
    [{ what: 'disk', from: null, to: 'paused', reason: 'enospc' }, 'lab-003  disk error: paused (enospc)'],
    [
      { what: 'connection', fleet: null, member: null, from: 'connected', to: 'disconnected', reason: 'end of file' },
      'libvirt  connected → disconnected (end of file)',
    ],
  ])('%j', (part, text) => {
    expect(renderEvent({ ...event, ...part })).toBe(`09:05:07  ${text}`);
  });
});

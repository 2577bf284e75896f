import { describe, expect, it } from 'vitest';
import { verifyUri } from '../../../src/adapters/connection.js';
import { parseDomainStates } from '../../../src/adapters/domain-states.js';
import { faultOf, virshError } from '../../../src/adapters/virsh-errors.js';
import { quote } from '../../../src/adapters/virsh-session.js';

describe('what virsh says', () => {
  it('is read from domstats (virsh 9.0: domstats --state --nowait)', () => {
    const states = parseDomainStates(`Domain: 'lab-001'
  state.state=1
  state.reason=1

Domain: 'odd 'name''
  state.state=3
  state.reason=5

Domain: 'off'
  state.state=5
  state.reason=2

`);
    expect(states.get('lab-001')).toEqual({ state: 'running', reason: 'booted' });
    expect(states.get("odd 'name'")).toEqual({ state: 'paused', reason: 'I/O error' });
    expect(states.get('off')).toEqual({ state: 'shutOff', reason: 'destroyed' });
  });

  it.each([
    ["failed to get domain 'x'", 'domain not found'],
    ["Failed to start domain 'x'\nRequested operation is not valid: domain is already running", 'already running'],
    ['Domain is already active', 'already running'],
    ['Requested operation is not valid: domain is not running', 'not running'],
    ['metadata not found: Requested metadata element is not present', 'no metadata'],
    ['Disconnected from qemu:///system due to end of file', 'disconnected'],
    [
      "failed to connect to the hypervisor\nFailed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory",
      'disconnected',
    ],
    ["Failed to start domain 'x'\nFailed to connect socket to '/run/libvirt/virtlogd-sock': No such file or directory", 'other'],
    ['anything else', 'other'],
  ])('%j means %s', (text, fault) => {
    expect(faultOf(text)).toBe(fault);
  });

  it('is explained, with the reason in front and a hint', () => {
    const error = virshError(
      'start lab-001',
      "Failed to start domain 'lab-001'\ninternal error: process exited: Could not open '/s/base.qcow2': Permission denied",
    );
    expect(error.message).toBe(
      "libvirt could not start lab-001: internal error: process exited: Could not open '/s/base.qcow2': Permission denied",
    );
    expect(error.hint).toContain('cowherd doctor');
    expect(virshError('start x', 'Failed to start\nNo space left on device').hint).toContain('disk is full');
    expect(virshError('connect', 'authentication unavailable: no polkit agent available')).toMatchObject({
      code: 'CONNECTION_FAILED',
      hint: expect.stringContaining('usermod'),
    });
  });

  it('is never spoken to with a line break', () => {
    expect(quote("it's")).toBe("'it'\\''s'");
    expect(() => quote('a\ndestroy b')).toThrow('control character');
  });
});

describe('a connection URI', () => {
  it.each(['qemu:///system', 'qemu:///session', 'qemu+unix:///system'])('%s is of this host', (uri) => {
    expect(verifyUri(uri)).toBe(uri);
  });
  it.each([
    ['qemu+ssh://host/system', /another host: cowherd cannot do that yet/],
    ['qemu+tls://host/system', /another host/],
    ['xen:///system', /not a connection to QEMU/],
    ['test:///default', /not a connection to QEMU/],
    ['nonsense', /not a libvirt connection URI/],
  ])('%s is refused', (uri, message) => {
    expect(() => verifyUri(uri)).toThrow(message);
  });
});

import { describe, expect, it } from 'vitest';
import { assertUri } from '../../../src/adapters/libvirt/connection.js';
import { parseDomainStates, parseIdentities } from '../../../src/adapters/libvirt/domain-states.js';
import { faultOf, virshError } from '../../../src/adapters/libvirt/session/virsh-errors.js';
import { quote } from '../../../src/adapters/libvirt/session/virsh-session.js';

describe('output of virsh', () => {
  it('is parsed from domstats (virsh 9.0: domstats --state --nowait)', () => {
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
    ['Failed to start network default\nRequested operation is not valid: network is already active', 'network active'],
    [
      "Failed to update network default\nRequested operation is not valid: couldn't locate a matching dhcp host entry in network 'default'",
      'address not found',
    ],
    ["command 'undefine' doesn't support option --tpm", 'unknown option'],
    // A name is not an option.
    ["failed to undefine domain 'a--tpm'\nunknown option", 'other'],
    ['anything else', 'other'],
    // Text of a guest is not a message of libvirt.
    ["internal error: unable to execute QEMU agent command 'guest-exec': End of file while reading data", 'other'],
    ["internal error: unable to execute QEMU agent command 'guest-shutdown': x\ndomain is not running", 'other'],
    ['internal error: cannot parse json Disconnected from qemu:///system: lexical error: invalid char in json text.', 'other'],
    ['internal error: failed to parse JSON: End of file while reading data', 'other'],
    ['internal error: Unknown JSON reply \'{"x":"Domain not found"}\'', 'other'],
  ])('%j means %s', (text, fault) => {
    expect(faultOf(text)).toBe(fault);
  });

  it('becomes an error with the reason first and a hint', () => {
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

  it.each([
    // libvirt 9 and 10, SELinux enforcing or AppArmor enabled; the text after "error: ".
    [
      "Failed to start domain 'x'\nunable to set security context 'system_u:object_r:svirt_image_t:s0:c1,c2' on '/s/x.qcow2': Operation not permitted",
      /semanage fcontext/,
    ],
    [
      "Failed to start domain 'x'\nRequested operation is not valid: Setting different SELinux label on /s/x.qcow2 which is already in use",
      /SELinux/,
    ],
    ["Failed to start domain 'x'\ninternal error: cannot load AppArmor profile 'libvirt-d6a03dfd-6e5c-43aa-b0b2-f062a7fb5aaf'", /AppArmor/],
    [
      "Failed to start domain 'x'\ninternal error: qemu unexpectedly closed the monitor: 2023-03-06T17:22:45.664025Z qemu-system-x86_64: -blockdev {}: Could not open '/s/x.qcow2': Permission denied",
      /cowherd doctor/,
    ],
    ["Failed to start domain 'x'\nUnable to open file: /s/x.log: Read-only file system", /read-only/],
    [
      "failed to connect to the hypervisor\nFailed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
      /usermod .* or use --connect qemu:\/\/\/session/,
    ],
    [
      "Failed to start domain 'x'\nTimed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainCreate)",
      /Another call holds/,
    ],
    ["Failed to start domain 'x'\ninternal error: Could not get process id of swtpm", /swtpm-localca/],
    ["Failed to start domain 'x'\nunable to open pipe: Too many open files", /LimitNOFILE/],
  ])('%j has a useful hint', (text, hint) => {
    expect(virshError('start x', text).hint).toMatch(hint);
  });

  it('is refused if the list of domains has an unreadable line', () => {
    const uuid = '776903b5-496f-5550-9aa0-12329a775938';
    expect(parseIdentities(`${uuid} lab-001\n${uuid}  a name \n\n`).map(({ name }) => name)).toEqual(['lab-001', 'a name']);
    for (const cut of [uuid, uuid.slice(0, 20), `${uuid} `, 'lab-001', `${uuid.slice(1)} lab-001`]) {
      expect(() => parseIdentities(`${uuid} lab-001\n${cut}\n`)).toThrow('unreadable line');
    }
  });

  it('never results from input with a line break', () => {
    expect(quote("it's")).toBe("'it'\\''s'");
    expect(() => quote('a\ndestroy b')).toThrow('control character');
  });
});

describe('a connection URI', () => {
  it.each(['qemu:///system', 'qemu:///session', 'qemu+unix:///system'])('%s is accepted', (uri) => {
    expect(assertUri(uri)).toBe(uri);
  });
  it.each([
    ['qemu+ssh://host/system', /another host, which cowherd does not support/],
    ['qemu+tls://host/system', /another host/],
    ['xen:///system', /not a connection to QEMU/],
    ['test:///default', /not a connection to QEMU/],
    ['nonsense', /not a libvirt connection URI/],
  ])('%s is refused', (uri, message) => {
    expect(() => assertUri(uri)).toThrow(message);
  });
});

describe('a missing file', () => {
  it.each([
    // libvirt 9.0 and 11.3, QEMU 7.2 and 10.0
    [
      "Cannot access storage file '/store/fleets/lab/overlays/lab-012.qcow2' (as uid:64055, gid:64055): No such file or directory",
      'cowherd reset lab 12',
    ],
    ["Cannot access storage file '/store/fleets/lab/seeds/lab-012.iso': No such file or directory", '"cowherd spawn lab"'],
    [
      "internal error: process exited while connecting to monitor: qemu-system-x86_64: -object {}: Could not open '/dev/urandom': No such file or directory",
      'no /dev/urandom',
    ],
    ["Path '/dev/urandom' is not accessible: No such file or directory", 'no /dev/urandom'],
    ["Could not open '/mnt/nas/tools.iso': No such file or directory", 'The domain uses /mnt/nas/tools.iso'],
  ])('%s', (text, expected) => {
    const { hint } = virshError('start lab-012', `Failed to start domain 'lab-012'\n${text}`);
    expect(hint).toContain(expected);
    expect(hint?.includes('reset')).toBe(text.includes('/overlays/'));
  });
});

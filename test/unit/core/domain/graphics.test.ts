import { describe, expect, it } from 'vitest';
import { hasAgentConnected, screensOf, vncAddress } from '../../../../src/core/domain/graphics.js';

const domain = (inside: string): string => `<domain><name>a</name><devices>${inside}</devices></domain>`;

describe('the screens of a domain', () => {
  it('are found in its XML', () => {
    expect(screensOf(domain(''))).toEqual({ hasConsole: false, graphics: null });
    expect(screensOf(domain("<console type='pty'/><graphics type='spice'/>"))).toEqual({ hasConsole: true, graphics: 'other' });
    expect(screensOf(domain("<graphics type='spice'/><graphics type='vnc'/>"))).toMatchObject({ graphics: 'vnc' });
  });

  it.each([
    [
      "<graphics type='vnc' port='5900' listen='127.0.0.1'><listen type='address' address='127.0.0.1'/></graphics>",
      { kind: 'tcp', host: '127.0.0.1', port: 5900 },
    ],
    ["<graphics type='vnc' port='5901'><listen type='address' address='::1'/></graphics>", { kind: 'tcp', host: '::1', port: 5901 }],
    [
      "<graphics type='vnc' socket='/run/a.sock'><listen type='socket' socket='/run/a.sock'/></graphics>",
      { kind: 'socket', path: '/run/a.sock' },
    ],
    ["<graphics type='vnc'><listen type='socket' socket='/run/b.sock'/></graphics>", { kind: 'socket', path: '/run/b.sock' }],
    ["<graphics type='vnc' port='5900' listen='0.0.0.0'/>", 'elsewhere'],
    ["<graphics type='vnc' port='5900' listen='192.0.2.1'/>", 'elsewhere'],
    ["<graphics type='vnc' port='5900' listen='127.0.0.1.example.com'/>", 'elsewhere'],
    ["<graphics type='vnc' port='-1' autoport='yes'/>", undefined],
    ["<graphics type='spice' port='5900'/>", undefined],
  ])('%s', (xml, expected) => {
    expect(vncAddress(domain(xml))).toEqual(expected);
  });

  it('include the channel of the agent', () => {
    const channel = (state: string) =>
      domain(`<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='${state}'/></channel>`);
    expect(hasAgentConnected(channel('connected'))).toBe(true);
    expect(hasAgentConnected(channel('disconnected'))).toBe(false);
    expect(hasAgentConnected(domain(''))).toBe(false);
  });
});

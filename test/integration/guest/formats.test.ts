import { isIPv4 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { reportCsv } from '../../../src/cli/render/report.js';
import { CowherdError } from '../../../src/core/errors.js';
import { formatInventory, type Inventory, type InventoryFormat } from '../../../src/core/fleet/inventory.js';
import { guestText } from '../../../src/core/guest/text.js';
import { shellQuote, sshConfigValue } from '../../../src/core/quoting.js';
import type { MemberExec } from '../../../src/services/guest/exec.js';
import { shownOutputs } from '../../fixtures/exec.js';
import '../../fakes/hostile-agent/seed.js';
import { hostileLines, hostileText } from '../../fakes/hostile-agent/text.js';
import { checkCsv, checkEnv, checkSshConfig, checkTerminal } from '../../support/formats.js';
import { runsOf } from '../../support/long.js';

/** cowherd's output with hostile text, read by the programs that it is for. */

describe('a format', () => {
  it('preserves a shell word', async () => {
    const words = fc.sample(hostileText, { numRuns: runsOf(200) }).filter((word) => !word.includes('\0'));
    const found: Inventory = {
      fleet: 'lab',
      members: words.map((user, at) => ({
        index: at + 1,
        name: `lab-${at + 1}`,
        state: 'on',
        host: '10.0.0.1' as never,
        port: 22,
        user,
        identityFile: null,
        knownHostsFile: '/x',
        sshConfig: [],
      })),
    };
    // A lone surrogate is not text, and is written as U+FFFD.
    const plain = { ...found, members: found.members.map((member) => ({ ...member, user: Buffer.from(member.user).toString() })) };
    expect(await checkEnv(formatInventory(found, 'env'), plain)).toEqual([]);
    expect(() => shellQuote('a\0b')).toThrow(CowherdError);
  });

  it('of an inventory refuses a host that is not an address', () => {
    const property = fc.property(
      hostileText,
      fc.constantFrom('ssh-config', 'hosts', 'env', 'ansible'),
      fc.boolean(),
      (text, format, isHost) => {
        const host = isHost ? text : '10.0.0.1';
        const sshConfig = [`HostName ${text}`];
        const members = [
          { index: 1, name: 'lab-001', state: 'on', host, port: 22, user: 'root', identityFile: null, knownHostsFile: '/x', sshConfig },
        ];
        let shown: string;
        try {
          shown = formatInventory({ fleet: 'lab', members } as unknown as Inventory, format as InventoryFormat);
        } catch (error) {
          expect(error).toBeInstanceOf(CowherdError);
          return;
        }
        expect(shown.split('\n').length).toBeLessThanOrEqual(10);
        if (isHost) expect(isIPv4(text)).toBe(true);
        expect(checkTerminal(shown.replace(/\p{Bidi_Control}|[\u2028\u2029]/gu, ''))).toEqual([]);
      },
    );
    fc.assert(property, { numRuns: runsOf(500) });
  });

  it('preserves a path in an ssh_config, or refuses it', async () => {
    const paths = fc.sample(
      hostileText.map((text) => `/store/${text.replace(/\0/g, '').slice(0, 200)}`),
      { numRuns: 80 },
    );
    let kept = 0;
    for (const path of paths) {
      let value: string;
      try {
        value = sshConfigValue(path);
      } catch (error) {
        expect(error).toBeInstanceOf(CowherdError);
        continue;
      }
      kept++;
      const member = {
        index: 1,
        name: 'lab-001',
        state: 'on' as const,
        host: '10.0.0.1' as never,
        port: 22,
        user: 'root',
        identityFile: path,
        knownHostsFile: path,
      };
      const text = `Host lab-001\n  HostName 10.0.0.1\n  IdentityFile ${value}\n  UserKnownHostsFile ${value}\n`;
      expect(await checkSshConfig(text, { fleet: 'lab', members: [{ ...member, sshConfig: [] }] }), path).toEqual([]);
    }
    expect(kept).toBeGreaterThan(10);
  });

  it('keeps a value within its CSV field', () => {
    const columns = ['fleet', 'member', 'allocated_bytes', 'drift_bytes'];
    const property = fc.property(hostileText, hostileText, (fleet, name) => {
      const report = { fleet, perMember: [{ name, allocatedBytes: 1, driftBytes: 2 }] } as unknown as Parameters<
        typeof reportCsv
      >[0][number];
      expect(checkCsv(reportCsv([report]), columns)).toEqual([]);
    });
    fc.assert(property, { numRuns: runsOf(300) });
  });

  it('for a terminal shows only text', () => {
    const property = fc.property(hostileLines, (lines) => {
      const row: MemberExec = {
        index: 1,
        name: 'lab-001',
        via: 'agent',
        exitCode: 0,
        stdout: guestText(lines),
        stderr: guestText(''),
        truncated: false,
      };
      const shown = shownOutputs(
        { fleet: 'lab', command: ['true'], counts: { ok: 1, failed: 0 }, interrupted: false, members: [row] },
        false,
      );
      expect(checkTerminal(shown)).toEqual([]);
    });
    fc.assert(property, { numRuns: runsOf(500) });
  });
});

import { describe, expect, it } from 'vitest';
import { domainWord } from '../../../../src/adapters/libvirt/session/virsh-words.js';
import { domainRef, virshWord } from '../../../../src/core/domain/domain-ref.js';

describe('a domain is named to virsh', () => {
  const uuid = '2c3b1d8e-93ab-4f0e-b3d3-30a6f9d5a001';

  it.each(['101', '0', '007', ' 101', '+101', '-1', '--all', '-x', '', 'a'.repeat(32), '2c3b1d8e-93ab-4f0e-b3d3-30a6f9d5a002'])(
    'by its UUID where its name is "%s"',
    (name) => {
      expect(domainRef({ name, uuid })).toBe(uuid);
      expect(virshWord({ name, uuid })).toBe(uuid);
    },
  );

  it.each(['lab-001', '1-001', '101a', 'x--all', 'my vm', "o'neil", '101.qcow2'])('by its name where that is "%s"', (name) => {
    expect(domainRef({ name, uuid })).toBe(name);
    expect(domainWord(name)).toBe(`'${name.replace("'", "'\\''")}'`);
  });

  it('never by a name that virsh would read as the id of another domain or as an option', () => {
    for (const name of ['101', '+101', ' 101', '--all', ''])
      expect(() => domainWord(name)).toThrow(
        expect.objectContaining({ code: 'NOT_SUPPORTED', hint: expect.stringContaining('domrename') }),
      );
    expect(domainWord(uuid)).toBe(`'${uuid}'`);
  });
});

import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../../../src/core/host/config-file.js';
import { configOfEnvironment } from '../../../../src/core/host/settings.js';

describe('the catalog setting', () => {
  const inFile = (value: string): string | undefined => parseConfig(`catalog: ${value}`, 'cowherd.yaml', '/project', '/home/user').catalog;

  it.each([
    ['images.yaml', '/project/images.yaml'],
    ['~/images.yaml', '/home/user/images.yaml'],
    ['/etc/images.yaml', '/etc/images.yaml'],
    ['https://a.example/images.yaml', 'https://a.example/images.yaml'],
  ])('%s in a file is %s', (value, expected) => expect(inFile(value)).toBe(expected));

  it('may come from the environment', () => {
    expect(configOfEnvironment({ COWHERD_CATALOG: 'images.yaml' }, '/project', '/home/user')).toEqual([
      { source: { kind: 'environment', from: 'COWHERD_CATALOG' }, values: { catalog: '/project/images.yaml' } },
    ]);
  });
});

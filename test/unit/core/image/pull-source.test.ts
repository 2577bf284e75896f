import { describe, expect, it } from 'vitest';
import { hashOfList, nameOfUrl, parseDigest, urlOf } from '../../../../src/core/image/pull-source.js';

describe('the source of a pull', () => {
  it('is a URL or a name of the catalog', () => {
    expect(urlOf('debian-12')).toBeUndefined();
    expect(urlOf('https://example.org/a.qcow2')).toBe('https://example.org/a.qcow2');
    for (const text of ['ftp://example.org/a.qcow2', 'file:///a.qcow2', 'https://']) expect(() => urlOf(text)).toThrow('URL');
  });

  it.each([
    ['https://example.org/x/Fedora-Cloud-44.x86_64.qcow2', 'fedora-cloud-44-x86-64'],
    ['https://example.org/app.qcow2.xz?token=1', 'app'],
    ['https://example.org/box.tar.gz', 'box'],
    ['https://example.org/appliance.ova', 'appliance'],
    ['https://example.org/app-1.2', 'app-1-2'],
    ['https://example.org/My%20Disk.VMDK', 'my-disk'],
  ])('%s is called %s', (url, name) => {
    expect(nameOfUrl(url, undefined)).toBe(name);
    expect(nameOfUrl(url, 'given')).toBe('given');
  });

  it('has no name without a file', () => {
    expect(() => nameOfUrl('https://example.org/', undefined)).toThrow('name');
    expect(nameOfUrl('https://example.org/', 'given')).toBe('given');
  });

  it.each([
    ['https://example.org/SHA512SUMS', 'sha512'],
    ['https://example.org/app.qcow2.sha512', 'sha512'],
    ['https://example.org/CHECKSUM.SHA-512', 'sha512'],
    ['https://example.org/SHA256SUMS', 'sha256'],
    ['https://example.org/app-20240512.qcow2.sha256', 'sha256'],
    ['https://example.org/sha512/CHECKSUM', 'sha256'],
  ])('%s has digests of the kind %s', (url, hash) => {
    expect(hashOfList(url)).toBe(hash);
  });

  it('has digests of the right length', () => {
    expect(parseDigest('sha256', ` SHA256:${'A'.repeat(64)} `)).toBe('a'.repeat(64));
    expect(parseDigest('sha512', undefined)).toBeUndefined();
    for (const text of ['', 'a'.repeat(63), 'g'.repeat(64), 'a'.repeat(128)]) expect(() => parseDigest('sha256', text)).toThrow('--sha256');
  });
});

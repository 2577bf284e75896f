import type { HintKind } from './kind.js';

const tests = (...names: string[]): string[] => names.map((name) => `test/integration/download/${name}.test.ts`);

/** Hints about downloads. */
export const downloadKinds: HintKind[] = [
  {
    kind: 'continue a download',
    says: /it continues the download/,
    tests: tests('retries', 'continued'),
    how: 'followed',
  },
  {
    kind: 'certificates, proxies and logins of downloads',
    says: /SSL_CERT_FILE|needs a login, write it into the URL|address of the proxy|URL of the proxy/,
    tests: tests('network', 'fetch'),
    how: 'followed',
  },
  {
    kind: 'files on servers and their digests',
    says: /^Open (it|the list) in a browser|check the directory in a browser|^Do not use images of this server|^Check the URL\. |must be that of a list|whole address of the file|page that offers the image|^Download the file with curl|^If it is the right file/,
    tests: [...tests('fetch', 'small', 'expected'), 'test/unit/core/image/download/digest-list.test.ts'],
    how: 'reads',
  },
  {
    kind: 'download an image, or find one in the catalog',
    says: /cowherd base pull |^The catalog has it\. |A dry run downloads nothing|Or add --pull to this command|To list all images: cowherd base catalog/,
    tests: ['test/e2e/base/pull.test.ts'],
    how: 'followed',
  },
];

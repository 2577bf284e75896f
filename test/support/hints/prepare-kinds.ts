import { e2e, type HintKind } from './kind.js';

/** Hints about images that are prepared. */
export const prepareKinds: HintKind[] = [
  {
    kind: 'the VM of a preparation',
    says: /add --keep|with --keep|after a failure: …|remove that fleet if you do not need it|^To start again, remove it first|^Run commands in it|Remove the VM: |^Remove it: cowherd teardown/,
    tests: e2e('base/prepare', 'base/prepare-crash', 'base/prepare-fleet'),
    how: 'followed',
  },
  {
    kind: 'an image whose recipe was changed',
    says: /^To prepare the image and move|^To move its members to the image that was/,
    tests: e2e('base/prepare-fleet'),
    how: 'followed',
  },
  {
    kind: 'how to prepare an image',
    says: /^Have it download|^Call the commands in the script|the VM gets the same name|^Put them into a script|^Add commands \(--run|^Give a command: --run/,
    tests: ['test/unit/core/guest/script.test.ts', 'test/unit/core/image/recipe.test.ts', ...e2e('base/prepare')],
    how: 'reads',
  },
];

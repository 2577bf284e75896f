import { Flags } from '@oclif/core';
import { parseUnpackedBytes } from '../../core/limits.js';

/** Flags of commands that download images. */

export const digestFlags = {
  sha256: Flags.string({ description: 'digest that the downloaded file must have', helpValue: 'HEX' }),
  sha512: Flags.string({ description: 'digest that the downloaded file must have', helpValue: 'HEX' }),
};

export const maxSizeFlag = {
  'max-size': Flags.custom<number>({
    description: 'largest size of the download and of what is unpacked [default: 64GiB]',
    helpValue: 'SIZE',
    parse: async (text) => parseUnpackedBytes(text),
  })(),
};

/** Flags for archives. */
export const unpackFlags = {
  disk: Flags.string({ description: 'of an archive with several disks: the one to import', helpValue: 'NAME' }),
  ...maxSizeFlag,
};

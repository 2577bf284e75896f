import { Args, Flags } from '@oclif/core';
import { exportBase } from '../../../services/base/export.js';
import { BaseCommand } from '../../base-command.js';
import { bytes } from '../../terminal/format.js';

export default class BaseExport extends BaseCommand {
  static override summary = 'Write a base image to a single standalone file.';
  static override description =
    'A layered image is flattened. The file appears only when it is complete; an existing file is not overwritten.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> golden2 golden2.qcow2',
    { description: 'Smaller, but slower to create', command: '<%= config.bin %> <%= command.id %> golden2 golden2.qcow2 --compress' },
  ];
  static override args = {
    base: Args.string({ description: 'NAME, NAME@DIGEST or a digest', required: true }),
    file: Args.string({ description: 'file to write', required: true }),
  };
  static override flags = {
    format: Flags.option({ description: 'format of the file', options: ['qcow2', 'raw'] as const, default: 'qcow2' })(),
    compress: Flags.boolean({ description: 'compress the clusters of a qcow2 file' }),
  };

  async run() {
    const { args, flags } = await this.parse(BaseExport);
    return this.onHost(flags, async (host, work) => {
      const result = await exportBase(host, { ...work, ...args, format: flags.format, compress: flags.compress });
      this.tell(`${result.ref}: written to ${result.file}, ${result.format}, ${bytes(result.allocatedBytes)} on disk`);
      return result;
    });
  }
}

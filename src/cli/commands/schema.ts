import { jsonText } from '../../core/quoting.js';
import { fleetFileJsonSchema } from '../../core/spec/file-schema.js';
import { BaseCommand } from '../base-command.js';

export default class Schema extends BaseCommand {
  static override summary = 'Print the JSON schema of fleet files.';
  static override description =
    `Editors use it to complete and check fleet files. For the YAML language server, put this line at the top of the file:\n\n# yaml-language-server: $schema=fleet.schema.json`;
  static override examples = ['<%= config.bin %> <%= command.id %> > fleet.schema.json'];

  async run() {
    await this.parse(Schema);
    const schema = fleetFileJsonSchema();
    this.log(jsonText(schema));
    return schema;
  }
}

import { z } from 'zod';
import { parseDuration } from '../duration.js';
import { parseWaitFor } from '../guest/stages.js';
import { longestPreparedName } from '../image/recipe.js';
import { limits, maxLength } from '../limits.js';
import { file, memory, name, network, seed, sshUser } from './field-schemas.js';

/** Text that a parser accepts. Its error becomes the finding. */
const parsedBy = (parse: (text: string) => unknown): z.ZodString =>
  z.string().superRefine((text, context) => {
    try {
      parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) });
    }
  });

const command = z.string().min(1).max(maxLength.command).regex(/\S/, 'is empty');

/** How the base image of a fleet is prepared, as written in a fleet file. */
export const imageSchema = z
  .strictObject({
    from: file.describe('The base image that the VM boots from: a file (relative to this file), or the name of one in the store.'),
    run: z
      .union([command, z.array(command).min(1).max(limits.commands.max)])
      .optional()
      .describe('Commands that run in the VM, in order: one, or a list.')
      .transform((given) => (typeof given === 'string' ? [given] : given)),
    script: file.optional().describe('In place of run: a script that runs in the VM (relative to this file).'),
    generalize: z
      .boolean()
      .optional()
      .describe('Remove machine-id, ssh host keys, logs and other state that the members must not share (default false).'),
    as: name
      .max(longestPreparedName)
      .optional()
      .describe(`Name of the new base image, at most ${longestPreparedName} characters (default: that of "from" and a part of a digest).`),
    memory: memory.optional().describe('Memory of the VM (default 512MiB).'),
    network: network.optional().describe('Network of the VM (default: that of the fleet).'),
    seed: seed.optional().describe('Seed of the VM, as for a fleet (default none).'),
    userData: file.optional().describe('A template of the user-data of the VM (relative to this file); implies seed nocloud.'),
    sshUser: sshUser.optional().describe('User that runs the commands if the guest has no agent (default root).'),
    wait: parsedBy(parseWaitFor).optional().describe('Stages that the VM must reach before the commands run (default agent).'),
    timeout: parsedBy(parseDuration)
      .optional()
      .describe('Time limit for the VM to become ready and for the commands: "45m" (default 30m).'),
  })
  .superRefine((image, context) => {
    if (image.run !== undefined && image.script !== undefined) context.addIssue({ code: 'custom', message: 'has both run and script' });
  })
  .describe('In place of base: how the base image is prepared, once, from another one.');

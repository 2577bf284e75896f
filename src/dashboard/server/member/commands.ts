import type { MemberIdentity } from '../../../core/fleet/identity.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { MemberDetail } from '../../protocol.js';

/** What can be done with a member in a terminal. */
export function memberCommands(
  { name: fleet }: Pick<FleetRecord, 'name'>,
  { index, name }: Pick<MemberIdentity, 'index' | 'name'>,
  { graphics, hasCheckpoint }: Pick<MemberDetail, 'graphics'> & { hasCheckpoint: boolean },
): MemberDetail['commands'] {
  return [
    { title: 'Log in by ssh', command: `cowherd ssh ${name}` },
    { title: 'Run a program in the guest', command: `cowherd exec ${fleet} ${index} -- uname -a` },
    { title: 'Open the console', command: `cowherd console ${name}` },
    { title: 'Show the console log', command: `cowherd logs ${name}` },
    { title: 'Start', command: `cowherd start ${fleet} ${index}` },
    { title: 'Shut down', command: `cowherd stop ${fleet} ${index}` },
    { title: 'Reset', command: `cowherd reset ${fleet} ${index}` },
    ...(hasCheckpoint ? [{ title: 'Restore the checkpoint', command: `cowherd reset ${fleet} ${index} --warm` }] : []),
    { title: 'Take a checkpoint', command: `cowherd checkpoint ${fleet} ${index}` },
    { title: 'Show the definition', command: `virsh dumpxml --inactive ${name}` },
    { title: 'Show the state', command: `virsh dominfo ${name}` },
    ...(graphics === null ? [] : [{ title: 'Show the address of the screen', command: `virsh domdisplay ${name}` }]),
  ];
}

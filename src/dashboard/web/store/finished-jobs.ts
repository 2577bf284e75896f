import type { JobView } from '../../protocol.js';
import { jobResult, jobTitle } from '../text/job-text.js';

/**
 * What to announce about jobs that have ended.
 * @param watched ids of jobs whose end was not announced yet; it is updated
 */
export function endedJobs(watched: Set<string>, jobs: readonly JobView[]): string[] {
  return jobs.flatMap((job) => {
    if (job.state !== 'running') return watched.delete(job.id) ? `${jobTitle(job)}: ${jobResult(job)}` : [];
    watched.add(job.id);
    return [];
  });
}

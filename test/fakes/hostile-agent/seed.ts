import fc from 'fast-check';

/**
 * Seed of generated text: the same in every run, so that failures can be reproduced. HOSTILE_SEED=random uses and prints a new one;
 * HOSTILE_SEED=N repeats it.
 */
export const seed = chosen(process.env.HOSTILE_SEED);
fc.configureGlobal({ seed });

function chosen(word: string | undefined): number {
  if (word === 'random') {
    const drawn = Math.floor(Math.random() * 2 ** 31);
    console.error(`generated replies: HOSTILE_SEED=${drawn}`);
    return drawn;
  }
  const given = Number(word || Number.NaN);
  return Number.isInteger(given) ? given : 20_240_131;
}

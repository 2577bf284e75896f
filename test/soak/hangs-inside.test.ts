/** The long version of the test with hanging guests, with every command that accesses guests. */
process.env.CWT_LONG = '1';
await import('../e2e/faults/hangs-inside.test.js');

export {};

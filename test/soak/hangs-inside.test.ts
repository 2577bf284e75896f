/** The long form of the test of guests that hang, with every verb that reaches into them. */
process.env.CWT_LONG = '1';
await import('../e2e/faults/hangs-inside.test.js');

export {};

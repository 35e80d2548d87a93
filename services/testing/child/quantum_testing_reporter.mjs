// A reporter of node:test that tells the suite how each test goes, one JSON record a line.
import fs from 'node:fs';
import path from 'node:path';

const token = process.env.QUANTUM_TESTING_TOKEN;
const root = process.env.QUANTUM_TESTING_ROOT;
const file = process.env.QUANTUM_TESTING_FILE;
const longest = 6000;

function tell(kind, fields) {
  let data = Buffer.from(`\n${token}${JSON.stringify({ kind, ...fields })}\n`);
  while (data.length > 0) {
    try {
      data = data.subarray(fs.writeSync(1, data));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function reason(error) {
  if (!error) return '';
  const cause = error.cause ?? error;
  const text = String(cause.stack ?? cause.message ?? cause);
  return text.length > longest ? text.slice(0, longest) : text;
}

const above = [];
const names = new Map();

function begin(data) {
  above.length = data.nesting;
  above[data.nesting] = data.name;
  const name = [file, ...above].join(' > ');
  names.set(`${data.nesting}:${data.line}:${data.column}:${data.name}`, name);
  return name;
}

function nameOf(data) {
  return names.get(`${data.nesting}:${data.line}:${data.column}:${data.name}`) ?? begin(data);
}

function outcomeOf(data) {
  const failed = data.details?.passed === false || Boolean(data.details?.error);
  if (data.skip !== undefined && data.skip !== false) return 'skipped';
  if (data.todo !== undefined && data.todo !== false) return failed ? 'xfailed' : 'skipped';
  return failed ? 'failed' : 'passed';
}

function ended(data) {
  const error = data.details?.error;
  const suite = data.details?.type === 'suite';
  if (suite && (!error || error.failureType === 'subtestsFailed')) return;
  const skip = typeof data.skip === 'string' ? data.skip : '';
  tell('end', {
    id: nameOf(data),
    outcome: outcomeOf(data),
    seconds: (data.details?.duration_ms ?? 0) / 1000,
    message: error ? reason(error) : skip,
  });
}

function covered(summary) {
  const files = (summary?.files ?? []).map((found) => ({
    path: path.relative(root, found.path),
    lines: found.lines.map(({ line, count }) => [line, count]),
    branches: found.branches.map(({ line, count }) => [line, count]),
  }));
  tell('coverage', { files });
}

tell('hello', { version: process.version.slice(1) });

export default async function* quantum(source) {
  for await (const { type, data } of source) {
    if (type === 'test:dequeue' && data.type !== 'suite') {
      tell('start', { id: begin(data), path: file, line: data.line });
    } else if (type === 'test:dequeue') {
      begin(data);
    } else if (type === 'test:complete') {
      ended(data);
    } else if (type === 'test:coverage') {
      covered(data.summary);
    }
  }
  tell('done', { status: 0 });
  yield '';
}

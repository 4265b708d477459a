/**
 * An executable that answers like nvidia-smi, with fixed text.
 */
import fs from 'node:fs';
import path from 'node:path';

export interface FakeAnswers {
  /** For `--help-query-gpu`. */
  readonly help?: string;
  /** For `--query-gpu=…`. */
  readonly query?: string;
  /** Shell lines for `--query-gpu=… -lms=…`; default: the table once, then the end. */
  readonly stay?: string;
  /** For `-L`. */
  readonly list?: string;
  /** Shell lines that run before anything else, as `exit 9`. */
  readonly before?: string;
}

export interface FakeNvidiaSmi {
  /** The path of the program. */
  readonly command: string;
  /** The arguments of each call so far. */
  calls(): string[];
  /** Answers otherwise from now on. */
  answer(answers: FakeAnswers): void;
}

/** Puts the program into `directory`. */
export function fakeNvidiaSmi(directory: string, answers: FakeAnswers): FakeNvidiaSmi {
  const command = path.join(directory, 'nvidia-smi');
  const log = path.join(directory, 'calls');
  const answer = ({ help = '', query = '', list = '', before = '', stay = '' }: FakeAnswers) => {
    for (const [name, text] of Object.entries({ help, query, list })) {
      fs.writeFileSync(path.join(directory, name), text);
    }
    const script = `#!/bin/sh
echo "$*" >> '${log}'
${before}
case "$*" in
  *-lms=*) :
    ${stay}
    ;;
esac
case "$1" in
  --help-query-gpu) exec cat '${directory}/help' ;;
  --query-gpu=*) exec cat '${directory}/query' ;;
  -L) exec cat '${directory}/list' ;;
esac
exit 2
`;
    // A program that is being executed cannot be written to; another file can take its name.
    fs.writeFileSync(`${command}.new`, script, { mode: 0o755 });
    fs.renameSync(`${command}.new`, command);
  };
  answer(answers);
  return {
    command,
    calls: () => (fs.existsSync(log) ? fs.readFileSync(log, 'utf8').trim().split('\n') : []),
    answer,
  };
}

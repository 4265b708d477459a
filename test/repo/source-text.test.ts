import { describe, expect, it } from 'vitest';
import { lineAt, maskSource } from './rules/source-text.ts';

const code = (text: string) => maskSource(text).code.replace(/ +/g, ' ').trim();

describe('maskSource', () => {
  it('blanks out comments and what is between quotes', () => {
    expect(code('a; // b\n/* c\n d */ e;')).toBe('a; \n \n e;');
    expect(code(`f('x // y', "it's", g);`)).toBe('f( , , g);');
  });

  it('keeps the code inside templates, however deep', () => {
    expect(code(`x = \`a \${b + \`c \${d} e\`} f\` + g;`)).toBe('x = b + d + g;');
    expect(code(`x = \`\${{ a: 1 }.a}\`; y`)).toBe('x = { a: 1 }.a ; y');
  });

  it('tells regular expressions from divisions', () => {
    expect(code('a = b / c / d;')).toBe('a = b / c / d;');
    expect(code('a = /[/\'"]/g.test(b) / 2;')).toBe('a = g.test(b) / 2;');
    expect(code("return /'/;")).toBe('return ;');
    expect(code('(a + b) / c; // d')).toBe('(a + b) / c;');
  });

  it('keeps strings where only comments are in the way, and every position', () => {
    const text = "import 'x'; /* y */ z";
    expect(maskSource(text).codeAndStrings).toBe(`import 'x'; ${' '.repeat(7)} z`);
    expect(maskSource(text).code).toHaveLength(text.length);
    expect(lineAt('a\nb\nc', 4)).toBe(3);
  });
});

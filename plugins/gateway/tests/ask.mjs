// Asks a gateway with the SDKs for Node, each question twice, and prints what they answer as JSON.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [url, key] = process.argv.slice(2);
const claude = new Anthropic({ baseURL: url, apiKey: key });
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const messages = [{ role: "user", content: "RSI 30, price 10?" }];
const message = { model: "claude-sonnet-5-5", max_tokens: 200, messages };
const chat = { model: "deepseek-v4-pro", messages };

async function whole(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0].delta.content ?? "";
  return text;
}

const asks = {
  message: async () => (await claude.messages.create(message)).content[0].text,
  message_stream: async () => (await claude.messages.stream(message).finalMessage()).content[0].text,
  tokens: async () =>
    (await claude.messages.countTokens({ model: message.model, messages })).input_tokens,
  chat: async () => (await openai.chat.completions.create(chat)).choices[0].message.content,
  chat_stream: async () => whole(await openai.chat.completions.create({ ...chat, stream: true })),
  response: async () =>
    (await openai.responses.create({ model: "gpt-5.6", input: messages[0].content })).output_text,
  embedding: async () =>
    (await openai.embeddings.create({ model: "text-embedding-3-small", input: "RSI 30" })).data[0]
      .embedding.length,
  error: () =>
    claude.messages.create({ ...message, model: "claude-none", max_tokens: "many" }).catch((e) => e.status),
};

const answers = {};
for (const [name, ask] of Object.entries(asks)) answers[name] = [await ask(), await ask()];
console.log(JSON.stringify(answers));

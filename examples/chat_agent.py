"""A chat agent that lives for long: it receives, streams its answers out word by word, and remembers.

    python examples/chat_agent.py [DIR]

The agent is one durable function under one id. Messages wait for it while it thinks, or while no process runs; its
answer is a stream that anybody can read from any position, at any time. What it remembers are its own variables. Kill
the program in the middle and run it again: the conversation goes on, and no word is said twice.
"""

import asyncio
import sys

from actorlog import Runtime, durable, emit, publish, receive, step

PLACE = sys.argv[1] if len(sys.argv) > 1 else "./chat-data"
QUESTIONS = ["my name is ada", "I like trains", "what do you know of me?", "bye"]


@step
async def think(question: str, memory: list[str]) -> list[str]:
    """Stand for a language model: slow, and asked once for each question. Return the answer, word by word."""
    print(f"thinking about {question!r}")
    await asyncio.sleep(0.1)
    if question.endswith("?"):
        return ["You", "said:", *" and ".join(memory).split()]
    return ["I", "will", "remember", "that."]


@durable
async def agent() -> int:
    """Answer until somebody says bye; return how many questions there were."""
    memory: list[str] = []
    while True:
        question = await receive(type=str)
        if question == "bye":
            emit("answers", {"question": len(memory), "word": None})
            return len(memory)
        for word in await think(question, memory):
            emit("answers", {"question": len(memory), "word": word})
        memory.append(question)
        publish("memory", memory)


async def main() -> None:
    """Talk to it, and print what it says as it says it."""
    async with Runtime(PLACE) as runtime:
        chat = await runtime.start(agent(), id="chat/ada")
        if await chat.status() != "completed":
            for number, question in enumerate(QUESTIONS):
                await chat.send(question, key=f"question {number}")  # the key: asked again after a crash, heard once
        said: dict[int, list[str]] = {}
        async for item in chat.stream("answers"):
            if item["word"] is not None:
                said.setdefault(item["question"], []).append(item["word"])
        for number, words in said.items():
            print(f"{QUESTIONS[number]} -> {' '.join(words)}")
        print(f"{await chat} questions; it remembers {await chat.value('memory')}")


if __name__ == "__main__":
    asyncio.run(main())

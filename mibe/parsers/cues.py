"""The words that announce an answer, in every language that is supported: one table.

A parser reads English more closely than the others (`mibe.parsers.statements`); of the others it knows the words for
"answer", what may stand between that word and the answer, and how the sentence is denied.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """Alternatives of regular expressions, in lower case; an empty one stands for nothing."""

    answer: str
    """Words for "answer"."""
    is_: str = ""
    """Words for "is", and particles that mark the subject."""
    option: str = ""
    """Articles and words for "option" right before an answer."""
    pick: str = ""
    """Words for "I choose", which an answer follows at once."""
    right: str = ""
    """What makes an answer the right one when it follows it ("B es correcta")."""
    denied: str = ""
    """Words before the answer that deny the sentence."""
    denied_after: str = ""
    """The same after the answer, where a language puts them there."""


LANGUAGES: dict[str, Language] = {
    "German": Language(
        answer="antwort(?:en)?|lösung|ergebnis|richtig|korrekt",
        is_="ist|lautet|wäre",
        option="die|der|das|option|buchstabe|antwort(?:möglichkeit)?",
        pick="ich wähle|ich nehme",
        right="ist (?:richtig|korrekt|die richtige)",
        denied="nicht|kein\\w*|falsch\\w*",
    ),
    "French": Language(
        answer="réponses?|reponses?|option correcte",
        is_="est|serait|sera",
        option="l'|la|le|les?|option|lettre|choix|proposition|réponse",
        pick="je choisis|je choisirais",
        right="est (?:correcte?|juste|la bonne)",
        denied="pas|n'est|aucune?|fausses?",
    ),
    "Spanish": Language(
        answer="respuestas?|(?:alternativa|opción) correcta",
        is_="es|sería|será",
        option="la|el|opción|letra|alternativa|literal|inciso|respuesta",
        pick="elijo|escojo|selecciono",
        right="es (?:correct[ao]|la (?:respuesta )?correcta)",
        denied="no|ningun[ao]|tampoco|incorrectas?",
    ),
    "Italian": Language(
        answer="rispost[ae]|opzione corretta",
        is_="è|e'|sarebbe|sarà",
        option="la|il|l'|opzione|lettera|alternativa|risposta",
        pick="scelgo|sceglierei",
        right="è (?:corrett[ao]|giust[ao]|la risposta (?:corretta|giusta))",
        denied="non|nessuna|errate?|sbagliat[ae]",
    ),
    "Portuguese": Language(
        answer="respostas?|gabarito|(?:alternativa|opção) (?:correta|certa)",
        is_="é|seria|será",
        option="a|o|alternativa|opção|letra|resposta",
        pick="escolho|marco|assinalo",
        right="(?:é|está) (?:corret[ao]|a (?:resposta )?(?:correta|certa))",
        denied="não|nenhuma|incorretas?|errada",
    ),
    "Dutch": Language("antwoord", "is|luidt", "de|het|optie|letter", "ik kies", "is (?:juist|correct)", "niet|geen"),
    "Swedish": Language("svar(?:et)?", "är", "alternativ", "jag väljer", "är (?:rätt|korrekt)", "inte|inget|fel"),
    "Danish": Language("svar(?:et)?", "er", "svarmulighed", "jeg vælger", "er (?:rigtig\\w?|korrekt)", "ikke|forkert"),
    "Norwegian": Language("svar(?:et)?", "er", "alternativ", "jeg velger", "er (?:riktig|korrekt)", "ikke|feil"),
    "Polish": Language(
        "odpowied(?:ź|z|zią)", "to|jest", "opcja|litera", "wybieram", "jest (?:poprawna|prawidłowa)", "nie"
    ),
    "Czech": Language("odpověď", "je", "možnost|písmeno", "volím", "je správn\\w", "není|ne"),
    "Turkish": Language(
        "cevap|cevabı|yanıt|yanıtı", option="şık|seçenek", right="(?:şıkkı )?doğru", denied_after="değil(?:dir)?|yanlış"
    ),
    "Indonesian": Language(
        "jawaban(?:nya)?",
        "adalah|ialah",
        "opsi|pilihan|huruf",
        "saya memilih",
        "(?:adalah )?benar",
        "bukan|tidak|salah",
    ),
    "Vietnamese": Language(
        "đáp án|câu trả lời|trả lời|kết luận", "là", "phương án|đáp án|câu|lựa chọn", "chọn", "là đúng", "không|sai"
    ),
    "Russian": Language(
        answer="ответ(?:ом)?",
        is_="это|является|будет|-",
        option="вариант|буква|ответ",
        pick="выбираю|выбираем",
        right="(?:является )?(?:верн|правильн)\\w*",
        denied="не|неверн\\w*|неправильн\\w*",
    ),
    "Ukrainian": Language("відповідь(?:ю)?", "це|є|-", "варіант|буква", "обираю", "(?:є )?правильн\\w*", "не"),
    "Greek": Language("απάντηση", "είναι", "η|το|επιλογή", "επιλέγω", "είναι (?:η )?σωστή", "δεν"),
    "Arabic": Language(
        answer="(?:ال)?[إا]جابة|(?:ال)?جواب",
        is_="هي|هو|تكون",
        option="الخيار|خيار|الحرف|حرف|الإجابة",
        pick="أختار|نختار",
        right="(?:هي |هو )?(?:ال)?صحيحة?",
        denied="ليست?|غير|لا|خاطئة",
    ),
    "Persian": Language(
        "پاسخ|جواب", "برابر", "گزینه(?:ی)?|حرف", right="(?:صحیح|درست)", denied="نادرست", denied_after="نیست"
    ),
    "Hebrew": Language("(?:ה)?תשובה", "היא|הוא", "אפשרות|אות", right="(?:היא )?נכונה", denied="אינה|לא"),
    "Hindi": Language("उत्तर|जवाब", "है|होगा", "विकल्प|अक्षर", right="सही", denied="गलत|ग़लत", denied_after="नहीं|गलत|ग़लत"),
    "Bengali": Language("উত্তর", "হলো|হল|হবে", "বিকল্প", right="সঠিক", denied="ভুল", denied_after="নয়|ভুল"),
    "Thai": Language("คำตอบ(?:ที่ถูกต้อง)?|ตอบ", "คือ|เป็น", "ข้อ|ตัวเลือก", "เลือก", "ถูกต้อง", "ไม่"),
    "Chinese": Language(
        answer="答案|答|正解|结论|結論|正确的?选项|正確的?選項",
        is_="是|为|為|选|選",
        option="选项|選項|选择|選擇|第",
        pick="(?<![不能应應该該可])(?:选择|選擇|选|選)(?!项|項|择|擇)",
        right="(?:选项|項|项)?(?:是|为|為)?(?:最)?(?:正确|正確)(?!吗|嗎)",
        denied="不|非|错误?|錯誤?|排除",
    ),
    "Japanese": Language(
        answer="答え|答|回答|解答|正解|正答|結論",
        is_="は|が",
        option="選択肢|番号|記号",
        right="(?:が|は)(?:最も)?(?:正解|正しい|正答|適切)",
        denied="誤り|間違い",
        denied_after="では?な[いく]|ではありません|じゃな[いく]",
    ),
    "Korean": Language(
        answer="정답|답변|해답|답",
        is_="은|는|이|가",
        option="보기|선택지|옵션|번호",
        right="(?:번)?(?:이|가|은|는) (?:정답|맞|옳|가장 적절)",
        denied="틀린|아닌",
        denied_after="(?:번)?(?:은|는|이|가)? ?(?:아니|아닙|아닌|틀)",
    ),
}
"""Language → its words."""


def alternatives(field: str) -> str:
    """One field of all languages as a pattern, the longest first, so that none stops at a beginning of another."""
    words = {word for language in LANGUAGES.values() for word in _split(getattr(language, field)) if word}
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


def _split(pattern: str) -> list[str]:
    """The top-level alternatives of a pattern."""
    parts, depth = [""], 0
    for char in pattern:
        depth += (char == "(") - (char == ")")
        if char == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return parts
